//! A complete node.
