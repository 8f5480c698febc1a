"""What the Verilog is made of: structure, area, and what the simulator assumes of it."""
