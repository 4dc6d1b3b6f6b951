//! Named places in code that can misbehave, and switches for historic defects.
//!
//! One [`Points`] is the switchboard of one node: nothing here is global, so two nodes of one process misbehave apart.
//! The owner hands in a seed (ratios draw from it), a [`Timer`] (waiting happens on the owner's clock) and an
//! [`Observer`] (it hears what fires). A place is a constant of a table, so that a typo does not compile:
//!
//! ```
//! failpoints::sites! {
//!     /// Where building a snapshot can misbehave.
//!     pub mod site in "snapshot" {
//!         /// Before the first file is written; `return` fails the build.
//!         BEFORE_BUILD: Async = "snapshot-before-build";
//!         /// While the directory is listed; `return` lists nothing.
//!         ON_LIST: Sync = "snapshot-on-list";
//!     }
//! }
//! failpoints::defects! {
//!     /// The historic defects that this node can be told to have.
//!     pub mod defect {
//!         /// A missing statistics file ends the store.
//!         TIKV_18030: "tikv-18030" from "tikv#18030" = "the statistics of a task are unwrapped";
//!     }
//! }
//!
//! async fn build(points: &failpoints::Points) -> Result<u32, String> {
//!     if let Some(arg) = failpoints::point!(points, site::BEFORE_BUILD).await {
//!         return Err(arg.as_str().to_owned());
//!     }
//!     let listed = if failpoints::point_sync!(points, site::ON_LIST).is_some() { 0 } else { 3 };
//!     Ok(if failpoints::defect!(points, defect::TIKV_18030) { listed + 1 } else { listed })
//! }
//!
//! # futures::executor::block_on(async {
//! assert_eq!(build(&failpoints::Points::none()).await, Ok(3));
//! # });
//! ```
//!
//! Without the feature `points` all of it compiles to nothing: `point!` and `point_sync!` are `None`, `defect!` is
//! `false`, [`Points`] has no size, and neither a site's nor a defect's name is in the binary. [`PRESENT`] says which
//! build this is.
//!
//! | room | when you would touch it |
//! |---|---|
//! | [`action`](Actions) | the language of actions: what a site can be told to do, printed and parsed |
//! | [`site`](Site) | the tables of sites, and their counts |
//! | [`defect`](Defect) | the table of historic defects, and their counts |
//! | `points` | the switchboard: hits, firing, pausing |
//! | `absent` | the same surface without the feature |
//!
//! Deliberately absent: a global registry, ids in names, a thread that blocks, a random source of its own, output.

mod action;
mod defect;
mod site;

#[cfg(not(feature = "points"))]
mod absent;
#[cfg(feature = "points")]
mod points;

use std::pin::Pin;
use std::time::Duration;

#[cfg(not(feature = "points"))]
pub use absent::{Arg, Points};
pub use action::{Action, Actions, ParseError, Ratio, Term, Text};
pub use defect::{Defect, DefectCount, DefectTable};
#[cfg(feature = "points")]
pub use points::{Arg, Points};
pub use site::{Kind, Site, SiteCount, SiteTable};

/// Whether points and defects are compiled into this build.
pub const PRESENT: bool = cfg!(feature = "points");

/// A future without a known type, as a [`Timer`] returns it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The clock on which actions wait. The owner of a [`Points`] hands it in.
pub trait Timer: Send + Sync {
    /// Ends after `duration` of the owner's clock; other tasks run meanwhile.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Ends after `duration` of work that holds the processor; on a simulated clock this is a sleep.
    fn delay(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleep(duration)
    }
}

/// Hears each action that fires, before it takes effect. `()` hears nothing.
pub trait Observer: Send + Sync {
    /// `action` fires at `site`, at the site's hit number `hit` (the first is 1). `print` has no other effect than this.
    fn fired(&self, site: &'static Site, action: &Action, hit: u64);
}

impl Observer for () {
    fn fired(&self, _: &'static Site, _: &Action, _: u64) {}
}

/// All sites and defects of a node: one table per room.
#[derive(Clone, Copy, Debug, Default)]
pub struct Catalog {
    /// The sites, one table a room.
    pub sites: &'static [SiteTable],
    /// The historic defects.
    pub defects: &'static [DefectTable],
}

/// Why a switchboard refused what it was told. Nothing is changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// No table has a site of this name.
    #[error("no failpoint is called `{name}`; there are: {}", .allowed.join(", "))]
    UnknownSite {
        /// The name asked for.
        name: String,
        /// All names.
        allowed: Vec<&'static str>,
    },
    /// No table has a defect of this id.
    #[error("no defect is called `{id}`; there are: {}", .allowed.join(", "))]
    UnknownDefect {
        /// The id asked for.
        id: String,
        /// All ids.
        allowed: Vec<&'static str>,
    },
    /// The site is in synchronous code, and the action waits.
    #[error(
        "failpoint `{site}` is in synchronous code and cannot wait, so `{action}` is refused; it takes: off, return, panic, print"
    )]
    Waits {
        /// The site's name.
        site: &'static str,
        /// The action, printed.
        action: String,
    },
    /// The action does not parse.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// This build has no points.
    #[error("this build has no failpoints and no defects; build with the feature `points`")]
    Absent,
}

/// Passes a place that can misbehave. To be awaited; gives `Some(Arg)` when a `return` fired there.
///
/// `point!(points, site::NAME).await`, in asynchronous code, where the site is declared `Async`.
#[cfg(feature = "points")]
#[macro_export]
macro_rules! point {
    ($points:expr, $site:path) => {{
        const { assert!($site.waits(), "`point!` needs a site declared `Async`; use `point_sync!`") };
        $crate::Points::hit(&$points, &$site)
    }};
}

/// Passes a place that can misbehave. Without the feature: ready with `None`.
#[cfg(not(feature = "points"))]
#[macro_export]
macro_rules! point {
    ($points:expr, $site:path) => {{
        let _ = || (&$points, &$site);
        ::core::future::ready(::core::option::Option::<$crate::Arg>::None)
    }};
}

/// Passes a place in synchronous code that can misbehave; gives `Some(Arg)` when a `return` fired there.
///
/// `point_sync!(points, site::NAME)`, where the site is declared `Sync`.
#[cfg(feature = "points")]
#[macro_export]
macro_rules! point_sync {
    ($points:expr, $site:path) => {{
        const { assert!(!$site.waits(), "`point_sync!` needs a site declared `Sync`; use `point!(…).await`") };
        $crate::Points::hit_sync(&$points, &$site)
    }};
}

/// Passes a place in synchronous code that can misbehave. Without the feature: `None`.
#[cfg(not(feature = "points"))]
#[macro_export]
macro_rules! point_sync {
    ($points:expr, $site:path) => {{
        let _ = || (&$points, &$site);
        ::core::option::Option::<$crate::Arg>::None
    }};
}

/// Whether the node carries a historic defect, and (with a condition) whether the defect acts here.
///
/// `defect!(points, defect::ID)`, or `defect!(points, defect::ID, condition)`, whose condition is evaluated only when the
/// defect is carried. Each evaluation of a carried defect counts as consulted, each `true` as acted.
#[cfg(feature = "points")]
#[macro_export]
macro_rules! defect {
    ($points:expr, $defect:path) => {
        $crate::Points::carries(&$points, &$defect, || true)
    };
    ($points:expr, $defect:path, $condition:expr) => {
        $crate::Points::carries(&$points, &$defect, || $condition)
    };
}

/// Whether the node carries a historic defect. Without the feature: `false`.
#[cfg(not(feature = "points"))]
#[macro_export]
macro_rules! defect {
    ($points:expr, $defect:path) => {{
        let _ = || (&$points, &$defect);
        false
    }};
    ($points:expr, $defect:path, $condition:expr) => {{
        let _ = || (&$points, &$defect, $condition);
        false
    }};
}

/// Declares the sites of one room: a module of constants, and their `TABLE`.
///
/// Each entry is `NAME: Async = "name-of-the-site";` (or `Sync`) under a doc comment, which `list points` prints.
#[cfg(feature = "points")]
#[macro_export]
macro_rules! sites {
    ($(#[$about:meta])* $vis:vis mod $module:ident in $room:literal {
        $($(#[doc = $doc:literal])+ $site:ident: $kind:ident = $name:literal;)*
    }) => {
        $(#[$about])*
        $vis mod $module {
            $($(#[doc = $doc])+
            pub static $site: $crate::Site =
                $crate::Site::new($name, $room, $crate::Kind::$kind, concat!($($doc, "\n"),+));)*
            /// Every site of this room.
            pub const TABLE: $crate::SiteTable = &[$(&$site),*];
        }
    };
}

/// Declares the sites of one room. Without the feature: constants of no size, and an empty table.
#[cfg(not(feature = "points"))]
#[macro_export]
macro_rules! sites {
    ($(#[$about:meta])* $vis:vis mod $module:ident in $room:literal {
        $($(#[doc = $doc:literal])+ $site:ident: $kind:ident = $name:literal;)*
    }) => {
        $(#[$about])*
        $vis mod $module {
            $($(#[doc = $doc])+ pub static $site: $crate::Site = $crate::Site::ABSENT;)*
            /// Every site of this room: none, for this build has none.
            pub const TABLE: $crate::SiteTable = &[];
        }
    };
}

/// Declares historic defects: a module of constants, and their `TABLE`.
///
/// Each entry is `NAME: "id" from "upstream issue" = "mechanism";` under a doc comment.
#[cfg(feature = "points")]
#[macro_export]
macro_rules! defects {
    ($(#[$about:meta])* $vis:vis mod $module:ident {
        $($(#[doc = $doc:literal])+ $defect:ident: $id:literal from $upstream:literal = $mechanism:literal;)*
    }) => {
        $(#[$about])*
        $vis mod $module {
            $($(#[doc = $doc])+
            pub static $defect: $crate::Defect =
                $crate::Defect::new($id, $upstream, $mechanism, concat!($($doc, "\n"),+));)*
            /// Every defect.
            pub const TABLE: $crate::DefectTable = &[$(&$defect),*];
        }
    };
}

/// Declares historic defects. Without the feature: constants of no size, and an empty table.
#[cfg(not(feature = "points"))]
#[macro_export]
macro_rules! defects {
    ($(#[$about:meta])* $vis:vis mod $module:ident {
        $($(#[doc = $doc:literal])+ $defect:ident: $id:literal from $upstream:literal = $mechanism:literal;)*
    }) => {
        $(#[$about])*
        $vis mod $module {
            $($(#[doc = $doc])+ pub static $defect: $crate::Defect = $crate::Defect::ABSENT;)*
            /// Every defect: none, for this build has none.
            pub const TABLE: $crate::DefectTable = &[];
        }
    };
}
