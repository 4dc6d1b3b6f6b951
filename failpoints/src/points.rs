//! The switchboard of one node.
//!
//! Each site of the owner's tables has a slot: two counters, a flag that says whether anything is configured, and what is
//! configured. A hit of an idle site finds its slot by the key of its name, counts, and reads the flag: no lock, no string.
//! Each site draws its ratios from a stream of its own, split from the seed, so that one site's draws do not disturb
//! another's. Nothing fires and no observer is called under a lock.
//!
//! Sites and defects outside the owner's tables can be passed, and are never on.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use crate::{Action, Actions, Catalog, Defect, DefectCount, Observer, SetError, Site, SiteCount, Text, Timer};

/// The argument of a `return`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg(String);

impl Arg {
    /// The text between the parentheses, empty when there are none.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as a value.
    pub fn parse<T: FromStr>(&self) -> Result<T, T::Err> {
        self.0.parse()
    }
}

/// One node's switchboard. Clones share it.
#[derive(Clone, Default)]
pub struct Points {
    board: Option<Arc<Board>>,
}

impl Points {
    /// A switchboard on which nothing can be switched and nothing is counted.
    pub const fn none() -> Self {
        Self { board: None }
    }

    /// A switchboard for the sites and defects of `catalog`, all off.
    ///
    /// Ratios draw from streams split from `seed`; waiting uses `timer`; `observer` hears what fires. Two sites or two
    /// defects of one name are a mistake in the tables, and panic.
    pub fn new(catalog: Catalog, seed: u64, timer: Arc<dyn Timer>, observer: Arc<dyn Observer>) -> Self {
        let sites = catalog.sites.iter().flat_map(|table| table.iter().copied());
        let sites = sites.map(|site| (site.key(), site.name(), SiteSlot::new(site, seed)));
        let defects = catalog.defects.iter().flat_map(|table| table.iter().copied());
        let defects = defects.map(|defect| (defect.key(), defect.id(), DefectSlot::new(defect)));
        Self {
            board: Some(Arc::new(Board { sites: Slots::new(sites), defects: Slots::new(defects), timer, observer })),
        }
    }

    /// Tells the site called `site` what to do, in the language of [`Actions`].
    pub fn set(&self, site: &str, actions: &str) -> Result<(), SetError> {
        let actions = actions.parse::<Actions>()?;
        self.named(site)?.set(actions)
    }

    /// Tells `site` what to do.
    pub fn set_site(&self, site: &'static Site, actions: Actions) -> Result<(), SetError> {
        self.named(site.name())?.set(actions)
    }

    /// Turns a site off; what is paused there goes on.
    pub fn off(&self, site: &str) -> Result<(), SetError> {
        self.named(site)?.clear();
        Ok(())
    }

    /// Turns every site off; what is paused goes on. Defects stay.
    pub fn all_off(&self) {
        for slot in self.board.iter().flat_map(|board| board.sites.iter()) {
            slot.clear();
        }
    }

    /// From now on the node has this defect.
    pub fn carry(&self, defect: &'static Defect) -> Result<(), SetError> {
        self.carry_id(defect.id())
    }

    /// From now on the node has the defect with this id.
    pub fn carry_id(&self, id: &str) -> Result<(), SetError> {
        let slots = self.board.as_ref().map(|board| &board.defects);
        let slot = slots.and_then(|slots| slots.iter().find(|slot| slot.defect.id() == id));
        match slot {
            Some(slot) => {
                slot.carried.store(true, Ordering::Release);
                Ok(())
            }
            None => Err(SetError::UnknownDefect {
                id: id.to_owned(),
                allowed: slots.into_iter().flat_map(|slots| slots.iter()).map(|slot| slot.defect.id()).collect(),
            }),
        }
    }

    /// How often each site was reached, in the order of the tables.
    pub fn hits(&self) -> Vec<SiteCount> {
        self.board.iter().flat_map(|board| board.sites.iter()).map(SiteSlot::count).collect()
    }

    /// What is configured, in the order of the tables.
    pub fn configured(&self) -> Vec<(&'static Site, Actions)> {
        let slots = self.board.iter().flat_map(|board| board.sites.iter());
        slots.filter_map(|slot| Some((slot.site, slot.rule.lock().actions.clone()?))).collect()
    }

    /// The defects that are carried and how often they acted, in the order of the tables.
    pub fn carried(&self) -> Vec<DefectCount> {
        self.board.iter().flat_map(|board| board.defects.iter()).filter_map(DefectSlot::count).collect()
    }

    /// Passes a site in asynchronous code; [`point!`](crate::point) calls it. The site is passed by this call; what is
    /// awaited is what fired there, which is nothing nearly always.
    pub fn hit(&self, site: &'static Site) -> Hit<'_> {
        let fired = self.board.as_deref().and_then(|board| {
            let slot = board.slot(site)?;
            Some((board, slot, slot.pass(&*board.observer)?))
        });
        Hit(fired.map(|(board, slot, fired)| Box::pin(board.carry_out(slot, fired)) as Effect<'_>))
    }

    /// Passes a site in synchronous code; [`point_sync!`](crate::point_sync) calls it.
    pub fn hit_sync(&self, site: &'static Site) -> Option<Arg> {
        let board = self.board.as_ref()?;
        let slot = board.slot(site)?;
        let fired = slot.pass(&*board.observer)?;
        slot.effect(fired.action)
    }

    /// Whether nothing is configured at a site: passing it would do nothing but count.
    pub fn is_idle(&self, site: &'static Site) -> bool {
        let Some(board) = &self.board else { return true };
        board.slot(site).is_none_or(|slot| !slot.armed.load(Ordering::Acquire))
    }

    /// Whether `defect` is carried and `condition` holds; [`defect!`](crate::defect) calls it.
    pub fn carries(&self, defect: &'static Defect, condition: impl FnOnce() -> bool) -> bool {
        let Some(board) = &self.board else { return false };
        let Some(slot) = board.defects.find(defect.key(), |slot| slot.defect.id() == defect.id()) else { return false };
        if !slot.carried.load(Ordering::Acquire) {
            return false;
        }
        slot.consulted.fetch_add(1, Ordering::Relaxed);
        let acts = condition();
        slot.acted.fetch_add(u64::from(acts), Ordering::Relaxed);
        acts
    }

    fn named(&self, name: &str) -> Result<&SiteSlot, SetError> {
        let slots = self.board.as_ref().map(|board| &board.sites);
        slots.and_then(|slots| slots.iter().find(|slot| slot.site.name() == name)).ok_or_else(|| {
            SetError::UnknownSite {
                name: name.to_owned(),
                allowed: slots.into_iter().flat_map(|slots| slots.iter()).map(|slot| slot.site.name()).collect(),
            }
        })
    }
}

impl std::fmt::Debug for Points {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = out.debug_map();
        for (site, actions) in self.configured() {
            map.entry(&site.name(), &actions.to_string());
        }
        map.finish()
    }
}

struct Board {
    sites: Slots<SiteSlot>,
    defects: Slots<DefectSlot>,
    timer: Arc<dyn Timer>,
    observer: Arc<dyn Observer>,
}

impl Board {
    fn slot(&self, site: &'static Site) -> Option<&SiteSlot> {
        self.sites.find(site.key(), |slot| std::ptr::eq(slot.site, site) || slot.site.name() == site.name())
    }

    /// Does what fired at a site in asynchronous code.
    async fn carry_out(&self, slot: &SiteSlot, fired: Fired) -> Option<Arg> {
        match fired {
            Fired { action: Action::Sleep(duration), .. } => self.timer.sleep(duration).await,
            Fired { action: Action::Delay(duration), .. } => self.timer.delay(duration).await,
            Fired { action: Action::Pause, version } => slot.pause(version).await,
            Fired { action: Action::Yield, .. } => yield_once().await,
            Fired { action, .. } => return slot.effect(action),
        }
        None
    }
}

type Effect<'a> = Pin<Box<dyn Future<Output = Option<Arg>> + Send + 'a>>;

/// What fired when a site was passed; see [`Points::hit`].
#[must_use = "what fired at a site happens when it is awaited"]
pub struct Hit<'a>(Option<Effect<'a>>);

impl Future for Hit<'_> {
    type Output = Option<Arg>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Arg>> {
        match &mut self.0 {
            None => Poll::Ready(None),
            Some(effect) => effect.as_mut().poll(context),
        }
    }
}

/// Slots in the order of their tables, found by the key of their name: open addressing, at most half full.
struct Slots<T> {
    slots: Vec<(u64, T)>,
    index: Vec<Option<usize>>,
}

impl<T> Slots<T> {
    fn new(entries: impl Iterator<Item = (u64, &'static str, T)>) -> Self {
        let mut names = Vec::new();
        let mut slots = Vec::new();
        for (key, name, slot) in entries {
            assert!(!names.contains(&name), "two entries of the failpoint tables are called `{name}`; rename one");
            names.push(name);
            slots.push((key, slot));
        }
        let mut index = vec![None; (slots.len() * 2).next_power_of_two()];
        let mask = index.len() - 1;
        for (number, (key, _)) in slots.iter().enumerate() {
            let mut at = *key as usize & mask;
            while index[at].is_some() {
                at = (at + 1) & mask;
            }
            index[at] = Some(number);
        }
        Self { slots, index }
    }

    fn find(&self, key: u64, same: impl Fn(&T) -> bool) -> Option<&T> {
        let mask = self.index.len() - 1;
        let mut at = key as usize & mask;
        while let Some(number) = self.index[at] {
            let (found, slot) = &self.slots[number];
            if *found == key && same(slot) {
                return Some(slot);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().map(|(_, slot)| slot)
    }
}

struct SiteSlot {
    site: &'static Site,
    hits: AtomicU64,
    fired: AtomicU64,
    /// Whether `rule` has actions; read before it is locked.
    armed: AtomicBool,
    rule: Mutex<Rule>,
}

struct Rule {
    actions: Option<Actions>,
    /// What each term has seen so far.
    progress: Vec<Progress>,
    /// Grows with each change, so that a pause knows when it is over.
    version: u64,
    paused: Vec<Waker>,
    draws: Xoshiro256PlusPlus,
}

#[derive(Clone, Default)]
struct Progress {
    reached: u64,
    fired: u64,
}

/// An action that fires, and the version of the rule that it came from.
struct Fired {
    action: Action,
    version: u64,
}

impl SiteSlot {
    fn new(site: &'static Site, seed: u64) -> Self {
        let draws = Xoshiro256PlusPlus::seed_from_u64(split(seed, site.key()));
        let rule = Rule { actions: None, progress: Vec::new(), version: 0, paused: Vec::new(), draws };
        Self {
            site,
            hits: AtomicU64::new(0),
            fired: AtomicU64::new(0),
            armed: AtomicBool::new(false),
            rule: Mutex::new(rule),
        }
    }

    fn set(&self, actions: Actions) -> Result<(), SetError> {
        if let (false, Some(action)) = (self.site.waits(), actions.waiting()) {
            return Err(SetError::Waits { site: self.site.name(), action: action.to_string() });
        }
        self.replace(Some(actions));
        Ok(())
    }

    fn clear(&self) {
        self.replace(None);
    }

    fn replace(&self, actions: Option<Actions>) {
        let mut rule = self.rule.lock();
        rule.progress = vec![Progress::default(); actions.as_ref().map_or(0, |actions| actions.terms().len())];
        self.armed.store(actions.is_some(), Ordering::Release);
        rule.actions = actions;
        rule.version += 1;
        let paused = std::mem::take(&mut rule.paused);
        drop(rule);
        paused.into_iter().for_each(Waker::wake);
    }

    /// Counts the hit and gives what fires.
    fn pass(&self, observer: &dyn Observer) -> Option<Fired> {
        let hit = self.hits.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.armed.load(Ordering::Acquire) {
            return None;
        }
        let fired = {
            let mut rule = self.rule.lock();
            let action = rule.choose()?;
            Fired { action, version: rule.version }
        };
        if fired.action == Action::Off {
            return None;
        }
        self.fired.fetch_add(1, Ordering::Relaxed);
        observer.fired(self.site, &fired.action, hit);
        Some(fired)
    }

    /// What an action that does not wait does.
    fn effect(&self, action: Action) -> Option<Arg> {
        let owned = |text: Option<Text>| text.map_or_else(String::new, |text| text.as_str().to_owned());
        match action {
            Action::Return(text) => Some(Arg(owned(text))),
            Action::Panic(text) => panic!("failpoint `{}` panics: {}", self.site.name(), owned(text)),
            Action::Print(_) | Action::Off => None,
            Action::Sleep(_) | Action::Delay(_) | Action::Pause | Action::Yield => {
                unreachable!("failpoint `{}` refuses to wait when it is configured", self.site.name())
            }
        }
    }

    async fn pause(&self, version: u64) {
        poll_fn(|context| {
            let mut rule = self.rule.lock();
            if rule.version != version {
                return Poll::Ready(());
            }
            if !rule.paused.iter().any(|waker| waker.will_wake(context.waker())) {
                rule.paused.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn count(&self) -> SiteCount {
        SiteCount {
            site: self.site,
            hits: self.hits.load(Ordering::Relaxed),
            fired: self.fired.load(Ordering::Relaxed),
        }
    }
}

impl Rule {
    /// The action of the first term that is willing.
    fn choose(&mut self) -> Option<Action> {
        let terms = self.actions.as_ref()?.terms();
        for (term, progress) in terms.iter().zip(&mut self.progress) {
            progress.reached += 1;
            let from = term.nth.unwrap_or(1);
            let limit = term.count.or(term.nth.map(|_| 1)).unwrap_or(u64::MAX);
            let exactly = term.nth.is_some() && term.count.is_none();
            if progress.reached < from || progress.fired >= limit || (exactly && progress.reached > from) {
                continue;
            }
            if term.ratio.is_some_and(|ratio| !ratio.holds(self.draws.next_u64())) {
                continue;
            }
            progress.fired += 1;
            return Some(term.action.clone());
        }
        None
    }
}

struct DefectSlot {
    defect: &'static Defect,
    carried: AtomicBool,
    consulted: AtomicU64,
    acted: AtomicU64,
}

impl DefectSlot {
    fn new(defect: &'static Defect) -> Self {
        Self { defect, carried: AtomicBool::new(false), consulted: AtomicU64::new(0), acted: AtomicU64::new(0) }
    }

    fn count(&self) -> Option<DefectCount> {
        self.carried.load(Ordering::Acquire).then(|| DefectCount {
            defect: self.defect,
            consulted: self.consulted.load(Ordering::Relaxed),
            acted: self.acted.load(Ordering::Relaxed),
        })
    }
}

/// Splits a stream from `seed` by a key (the finaliser of splitmix64 over both).
fn split(seed: u64, key: u64) -> u64 {
    let mix = |word: u64| {
        let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    mix(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ key)
}

/// Lets the other ready tasks run once.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
