"""Methods of learning domains one after another, ours and those it is compared with, behind one protocol."""
