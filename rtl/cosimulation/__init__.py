"""Programs on the Verilog, against engine and reference."""
