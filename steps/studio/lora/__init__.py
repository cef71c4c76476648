"""LoRAs: read safely, trained on any model of the SDXL family, and written in the layouts that people load them in."""
