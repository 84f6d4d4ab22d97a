"""Any Keras model of token ids or words: its tokenizer, its inputs, its head, and the proof."""
