//! Panics inside a world become values.
//!
//! One hook for the operating-system process, installed once: on a thread that runs a world it notes message and place and prints
//! nothing; on any other thread the hook that was there before does its work.
//!
//! Not in here: what a panic means. In a process's task it ends that process, elsewhere the run.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Once},
};

thread_local! {
    static IN_WORLD: Cell<bool> = const { Cell::new(false) };
    static NOTED: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// A panic's message and place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Panic {
    pub(crate) message: Arc<str>,
    pub(crate) location: Arc<str>,
}

/// Declares this thread to run a world.
pub(crate) fn enter_world() {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IN_WORLD.get() {
                return before(info);
            }
            let location = info.location().map_or_else(|| "unknown place".into(), |place| place.to_string().into());
            let message = message_of(info.payload());
            NOTED.with(|noted| *noted.borrow_mut() = Some(Panic { message, location }));
        }));
    });
    IN_WORLD.set(true);
}

/// Calls `run`; a panic in it becomes the error.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    panic::catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        NOTED
            .with(|noted| noted.borrow_mut().take())
            .unwrap_or_else(|| Panic { message: message_of(payload.as_ref()), location: "unknown place".into() })
    })
}

fn message_of(payload: &(dyn Any + Send)) -> Arc<str> {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => Arc::from(*text),
        (_, Some(text)) => Arc::from(text.as_str()),
        _ => Arc::from("a panic without a message"),
    }
}
