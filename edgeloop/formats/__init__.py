"""Readers and writers of label formats: YOLO, Pascal VOC."""
