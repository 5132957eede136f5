//! What happens in a generated log, in numbers: no keys, no texts.

use super::{Config, Shares};

/// An operation by its place in [`Plan::marks`].
pub(super) type MarkId = u32;
/// A DID by its place in [`Plan::dids`].
pub(super) type DidId = u32;

const NONE: MarkId = MarkId::MAX;

/// How often a target is looked for before something else happens.
const TRIES: usize = 8;

/// An operation. Its date, data and registry follow from the seed and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) kind: Kind,
    pub(super) did: DidId,
    /// The operation before it in its DID.
    before: MarkId,
    /// The operation that brought a key: of an agent the key that holds after this operation, of
    /// an asset the one that signs it.
    pub(super) key: MarkId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Agent,
    Asset,
    Update,
    Delete,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Did {
    /// The agent that controls it; itself, where it is an agent.
    pub(super) owner: DidId,
    pub(super) first: MarkId,
    head: MarkId,
    /// How many assets that are not removed it controls.
    assets: u32,
    pub(super) local: bool,
    removed: bool,
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Accept(MarkId),
    Remove(MarkId),
    Confirm(DidId),
    Block(u32),
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    shares: Shares,
    random: fastrand::Rng,
    marks: Vec<Mark>,
    dids: Vec<Did>,
    agents: Vec<DidId>,
    removed: Vec<DidId>,
    blocks: u32,
    /// Operations still to accept.
    left: u32,
    /// Rows since the last operation.
    idle: u32,
}

impl Plan {
    pub(super) fn new(config: Config) -> Self {
        Self {
            random: fastrand::Rng::with_seed(config.seed),
            shares: config.shares,
            marks: Vec::new(),
            dids: Vec::new(),
            agents: Vec::new(),
            removed: Vec::new(),
            blocks: 0,
            left: config.operations,
            idle: 0,
        }
    }

    /// Adds the rows of what happens next; `false` at the end.
    pub(super) fn extend(&mut self, steps: &mut Vec<Step>) -> bool {
        if self.left == 0 {
            return false;
        }
        let before = (self.left, steps.len());
        if self.idle > 100 || self.happen(steps).is_none() {
            self.create_agent(steps);
        }
        let accepted = before.0 != self.left;
        self.idle = if accepted { 0 } else { self.idle + 1 };
        true
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a mark id is made where its mark is, and marks stay"
    )]
    pub(super) fn mark(&self, mark: MarkId) -> &Mark {
        &self.marks[mark as usize]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a DID id is made where its DID is, and DIDs stay"
    )]
    pub(super) fn did(&self, did: DidId) -> &Did {
        &self.dids[did as usize]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a DID id is made where its DID is, and DIDs stay"
    )]
    fn did_mut(&mut self, did: DidId) -> &mut Did {
        &mut self.dids[did as usize]
    }

    pub(super) fn before(&self, mark: MarkId) -> Option<MarkId> {
        let before = self.mark(mark).before;
        (before != NONE).then_some(before)
    }

    /// How many operations there are, each counted once.
    pub(super) fn operations(&self) -> usize {
        self.marks.len()
    }

    /// Whether the DID is an agent.
    pub(super) fn is_agent(&self, did: DidId) -> bool {
        self.did(did).owner == did
    }

    fn happen(&mut self, steps: &mut Vec<Step>) -> Option<()> {
        type Happening = fn(&mut Plan, &mut Vec<Step>) -> Option<()>;
        let shares = &self.shares;
        let happenings: [(u16, Happening); 9] = [
            (shares.agents, |plan, steps| {
                plan.create_agent(steps);
                Some(())
            }),
            (shares.assets, Self::create_asset),
            (shares.updates, |plan, steps| {
                plan.change(Kind::Update, steps)
            }),
            (shares.deletes, |plan, steps| {
                plan.change(Kind::Delete, steps)
            }),
            (shares.removals, Self::remove),
            (shares.additions, Self::add_again),
            (shares.reorganisations, Self::reorganise),
            (shares.blocks, |plan, steps| {
                steps.push(Step::Block(plan.blocks));
                plan.blocks += 1;
                Some(())
            }),
            (shares.confirmations, |plan, steps| {
                let did = plan.any(|plan, did| !plan.did(did).removed)?;
                steps.push(Step::Confirm(did));
                Some(())
            }),
        ];
        let sum: u32 = happenings
            .iter()
            .map(|(weight, _)| u32::from(*weight))
            .sum();
        if sum == 0 {
            return None;
        }
        let mut drawn = self.random.u32(..sum);
        for (weight, happening) in happenings {
            let weight = u32::from(weight);
            if drawn < weight {
                return happening(self, steps);
            }
            drawn -= weight;
        }
        None
    }

    fn create_agent(&mut self, steps: &mut Vec<Step>) {
        let did = length(&self.dids);
        let local = self.thousandth(self.shares.local);
        self.agents.push(did);
        self.create(Kind::Agent, did, length(&self.marks), local, steps);
    }

    fn create_asset(&mut self, steps: &mut Vec<Step>) -> Option<()> {
        let owner = self.agent()?;
        let local = self.did(owner).local | self.thousandth(self.shares.local);
        self.create(Kind::Asset, owner, self.key(owner), local, steps);
        self.did_mut(owner).assets += 1;
        Some(())
    }

    fn create(
        &mut self,
        kind: Kind,
        owner: DidId,
        key: MarkId,
        local: bool,
        steps: &mut Vec<Step>,
    ) {
        let mark = length(&self.marks);
        self.marks.push(Mark {
            kind,
            did: length(&self.dids),
            before: NONE,
            key,
        });
        self.dids.push(Did {
            owner,
            first: mark,
            head: mark,
            assets: 0,
            local,
            removed: false,
        });
        self.accept(mark, steps);
    }

    /// An update or delete.
    fn change(&mut self, kind: Kind, steps: &mut Vec<Step>) -> Option<()> {
        let did = self.any(Self::is_changeable)?;
        let before = self.did(did).head;
        self.change_after(before, kind, steps);
        Some(())
    }

    fn change_after(&mut self, before: MarkId, kind: Kind, steps: &mut Vec<Step>) {
        let Mark { did, key, .. } = *self.mark(before);
        let mark = length(&self.marks);
        let key = if !self.is_agent(did) {
            self.key(self.did(did).owner)
        } else if kind == Kind::Update && self.thousandth(self.shares.rotations) {
            mark
        } else {
            key
        };
        self.marks.push(Mark {
            kind,
            did,
            before,
            key,
        });
        self.did_mut(did).head = mark;
        self.accept(mark, steps);
    }

    fn remove(&mut self, steps: &mut Vec<Step>) -> Option<()> {
        let did = self.any(|plan, did| {
            let did = plan.did(did);
            !did.removed && did.assets == 0
        })?;
        self.did_mut(did).removed = true;
        if !self.is_agent(did) {
            let owner = self.did(did).owner;
            self.did_mut(owner).assets -= 1;
        }
        self.removed.push(did);
        steps.extend(self.history(did).into_iter().map(Step::Remove));
        Some(())
    }

    fn add_again(&mut self, steps: &mut Vec<Step>) -> Option<()> {
        if self.removed.is_empty() {
            return None;
        }
        let place = self.random.usize(..self.removed.len());
        let did = *self.removed.get(place)?;
        let owner = self.did(did).owner;
        if owner != did {
            if self.did(owner).removed {
                return None;
            }
            self.did_mut(owner).assets += 1;
        }
        self.removed.swap_remove(place);
        let mut history = self.history(did);
        if self.random.bool() {
            history.truncate(self.random.usize(1..=history.len()));
        }
        history.truncate(self.left as usize);
        let subject = self.did_mut(did);
        subject.removed = false;
        subject.head = history.last().copied().unwrap_or(subject.first);
        for mark in history {
            self.accept(mark, steps);
        }
        Some(())
    }

    fn reorganise(&mut self, steps: &mut Vec<Step>) -> Option<()> {
        let did = self.any(|plan, did| {
            let subject = plan.did(did);
            let owner = plan.did(subject.owner);
            let signs = did == subject.owner || plan.is_active(owner);
            !subject.removed && subject.head != subject.first && signs
        })?;
        let mut before = self.before(self.did(did).head)?;
        if self.random.bool() {
            before = self.before(before).unwrap_or(before);
        }
        self.change_after(before, Kind::Update, steps);
        Some(())
    }

    fn accept(&mut self, mark: MarkId, steps: &mut Vec<Step>) {
        steps.push(Step::Accept(mark));
        self.left -= 1;
    }

    /// The operations of a DID, from its create on.
    fn history(&self, did: DidId) -> Vec<MarkId> {
        let head = Some(self.did(did).head);
        let mut history =
            std::iter::successors(head, |mark| self.before(*mark)).collect::<Vec<_>>();
        history.reverse();
        history
    }

    fn is_active(&self, did: &Did) -> bool {
        !did.removed && self.mark(did.head).kind != Kind::Delete
    }

    fn is_changeable(&self, did: DidId) -> bool {
        let did = self.did(did);
        self.is_active(did) && self.is_active(self.did(did.owner))
    }

    /// The key of an agent.
    fn key(&self, agent: DidId) -> MarkId {
        self.mark(self.did(agent).head).key
    }

    fn agent(&mut self) -> Option<DidId> {
        for _ in 0..TRIES {
            let agent = self.random.choice(&self.agents).copied()?;
            if self.is_active(self.did(agent)) {
                return Some(agent);
            }
        }
        None
    }

    fn any(&mut self, fits: impl Fn(&Self, DidId) -> bool) -> Option<DidId> {
        for _ in 0..TRIES {
            let did = self.random.u32(..length(&self.dids).max(1));
            if !self.dids.is_empty() && fits(self, did) {
                return Some(did);
            }
        }
        None
    }

    fn thousandth(&mut self, share: u16) -> bool {
        self.random.u16(..1000) < share
    }
}

/// A log has fewer than 2^32 operations, see [`Config::operations`].
#[expect(clippy::cast_possible_truncation, reason = "bounded by a u32")]
fn length<T>(values: &[T]) -> u32 {
    values.len() as u32
}
