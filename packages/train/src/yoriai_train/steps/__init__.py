"""The steps train/pretrain and train/tune."""
