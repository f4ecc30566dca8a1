"""What needs torch: the one door to Ultralytics, export and quantization; cards, device profiles and weights."""
