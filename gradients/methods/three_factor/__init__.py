"""Online rules for weights and delays: a trace at each synapse, and an error from the readout."""
