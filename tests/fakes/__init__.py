"""Local servers that speak the vendors' protocols over real HTTP on loopback: OpenAI, Replicate and RunPod, with scripted faults."""
