"""FiGKD: the wavelet transform along the class axis, the class order, and the loss."""
