"""A site as `startproject` makes it, with pages of its own. The gateway is added to it by the lines marked so."""
