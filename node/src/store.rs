//! A store: its mailboxes, its start and stop.

pub mod fact;
