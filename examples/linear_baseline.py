"""What spike counts alone say about a spoken digit: the accuracy that networks have to beat.

    python examples/linear_baseline.py

A logistic regression (scikit-learn) on the number of spikes of every channel, no times. Its
one free parameter is chosen on a validation part of the training recordings.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from evsim.datasets import SpokenDigits

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # inverse regularisation


def features(data):
    """Return counts [recording, channel]; the square root makes their spread even."""
    return np.sqrt(data.spikes().counts())


def accuracy(train, test):
    """Fit on ``train``, choose the strength on a fifth of it, return the accuracy on ``test``."""
    part, validation = train.split(0.2, seed=0)

    def fitted(data, strength):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        return model.fit(features(data), data.labels)

    best = max(
        STRENGTHS,
        key=lambda s: fitted(part, s).score(features(validation), validation.labels),
    )
    return fitted(train, best).score(features(test), test.labels)


if __name__ == "__main__":
    chance = 1 / 10
    print(f"linear classifier on spike counts of 70 channels (chance {chance:.0%})")
    score = accuracy(SpokenDigits("train"), SpokenDigits("test"))
    print(f"  takes 0-4 held out        {score:6.1%}")
    scores = []
    for speaker in SpokenDigits().speaker_names:
        train, test = (SpokenDigits(split, held_out=speaker) for split in ("train", "test"))
        scores.append(accuracy(train, test))
        print(f"  speaker {speaker:<8} held out {scores[-1]:6.1%}")
    print(f"  speakers, mean            {np.mean(scores):6.1%}")
