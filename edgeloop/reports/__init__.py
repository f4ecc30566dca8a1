"""Reports that people read: one HTML file each, nothing loaded from elsewhere, every value escaped."""
