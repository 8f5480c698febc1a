"""From ops to products and vector ops: one module per op family, each registering its ops."""
