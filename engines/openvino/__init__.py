"""OpenVINO: any processor."""
