"""Tests of the LoRA's training, reading and writing."""
