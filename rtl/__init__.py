"""The machine in Verilog, and how it is built, run and compared."""
