//! Promises about ranges, epochs, membership, a store's maps, and the content of regions.

mod closed_peer_handles_no_message;
mod content_equals_reference;
mod epochs_grow;
mod equal_peer_list;
mod key_space_covered;
mod one_owner_per_key;
mod peers_have_stores;
mod region_maps_agree;
mod removed_peer_never_returns;

pub use closed_peer_handles_no_message::CLOSED_PEER_HANDLES_NO_MESSAGE;
pub use content_equals_reference::CONTENT_EQUALS_REFERENCE;
pub use epochs_grow::EPOCHS_GROW;
pub use equal_peer_list::EQUAL_PEER_LIST;
pub use key_space_covered::KEY_SPACE_COVERED;
pub use one_owner_per_key::ONE_OWNER_PER_KEY;
pub use peers_have_stores::PEERS_HAVE_STORES;
pub use region_maps_agree::REGION_MAPS_AGREE;
pub use removed_peer_never_returns::REMOVED_PEER_NEVER_RETURNS;
