"""The studies, a file each: its module ends with ``STUDY``, an instance of its `Study`."""

# What studies, their reports and the documents call the papers.
PAPERS = {
    "A": "Sun et al., low-bit networks with delays, arXiv 2510.27434",
    "B": "Vassallo and TaheriNejad, three-factor rules of delays, arXiv 2601.00668",
    "C": "Queant et al., DelRec, arXiv 2509.24852",
    "D": "Cicciarella et al., DelRec with convolutions, arXiv 2604.15997",
}
