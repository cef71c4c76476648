"""Drawing the frames of stories: pipelines by the parts they have, references, the gate, and what is done when memory is short."""
