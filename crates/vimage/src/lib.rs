//! vimage
