"""Train sparse models for real: data without downloads, runs that resume bit for bit.

``weft.models.training.run`` trains; ``weft.models.training.log`` reads logs without torch.
"""
