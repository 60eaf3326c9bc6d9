collect_ignore = ["golden/make.py"]  # needs PyTorch and transformers
