//! From what happens to the rows that tell it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::content::Draw;
use super::plan::{DidId, Kind, MarkId, Plan, Step};
use crate::operation::{self, DID, Signed, Signer, content_hash};
use crate::row::{Known, Origin};
use crate::{Change, Event};
use sync_mdip::{Invalid, object};

type Digest = [u8; 32];

/// How many keys are kept from block to block, about 130 bytes each. To derive a key takes as long
/// as to sign.
const SIGNERS: usize = 1 << 16;

#[derive(Debug)]
pub(super) struct Renderer {
    seed: u64,
    late: u16,
    threads: usize,
    /// By operation: the SHA-256 in its content id.
    digests: Vec<Digest>,
    signers: HashMap<MarkId, Signer>,
}

/// An agent and all that it controls: what its operations say depends on no other family's, so
/// that families can be signed side by side.
struct Family<'a> {
    renderer: &'a Renderer,
    plan: &'a Plan,
    made: Made,
}

/// What a family's rows are, and what was learnt while making them.
#[derive(Default)]
struct Made {
    /// With their places in the block.
    changes: Vec<(usize, Change)>,
    /// Of the operations made here.
    digests: HashMap<MarkId, Digest>,
    /// The keys derived here.
    signers: HashMap<MarkId, Signer>,
}

/// An operation before it is signed.
struct Content {
    json: String,
    signed: String,
    signer: Option<String>,
    previd: Option<String>,
    key: MarkId,
}

impl Renderer {
    pub(super) fn new(seed: u64, late: u16, threads: usize) -> Self {
        Self {
            seed,
            late,
            threads,
            digests: Vec::new(),
            signers: HashMap::new(),
        }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// The rows of `steps`, in their order.
    pub(super) fn render(&mut self, plan: &Plan, steps: &[Step]) -> Vec<Change> {
        if self.signers.len() > SIGNERS {
            self.signers.clear();
        }
        let families = families(plan, steps);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some(family) = families.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push(Family::new(self, plan).render(family));
            }
            done
        };
        let others = self.threads.min(families.len()).saturating_sub(1);
        let done = if others == 0 {
            work()
        } else {
            std::thread::scope(|scope| {
                let others = (0..others).map(|_| scope.spawn(work)).collect::<Vec<_>>();
                let mut done = work();
                for other in others {
                    match other.join() {
                        Ok(more) => done.extend(more),
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
                done
            })
        };
        let mut changes = Vec::with_capacity(steps.len());
        self.digests.resize(plan.operations(), [0; 32]);
        for made in done {
            changes.extend(made.changes);
            for (mark, digest) in made.digests {
                if let Some(place) = self.digests.get_mut(mark as usize) {
                    *place = digest;
                }
            }
            self.signers.extend(made.signers);
        }
        changes.sort_unstable_by_key(|(place, _)| *place);
        changes.into_iter().map(|(_, change)| change).collect()
    }
}

/// The steps by family, with their places.
fn families(plan: &Plan, steps: &[Step]) -> Vec<Vec<(usize, Step)>> {
    let mut families: Vec<Vec<(usize, Step)>> = Vec::new();
    let mut by_owner: HashMap<Option<DidId>, usize> = HashMap::new();
    for (place, step) in steps.iter().enumerate() {
        let did = match *step {
            Step::Accept(mark) | Step::Remove(mark) => Some(plan.mark(mark).did),
            Step::Confirm(did) => Some(did),
            Step::Block(_) => None,
        };
        let owner = did.map(|did| plan.did(did).owner);
        let family = *by_owner.entry(owner).or_insert_with(|| {
            families.push(Vec::new());
            families.len() - 1
        });
        if let Some(family) = families.get_mut(family) {
            family.push((place, *step));
        }
    }
    // The longest first, so that no thread is left with it at the end.
    families.sort_by_key(|family| std::cmp::Reverse(family.len()));
    families
}

impl<'a> Family<'a> {
    fn new(renderer: &'a Renderer, plan: &'a Plan) -> Self {
        Self {
            renderer,
            plan,
            made: Made::default(),
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "the operations are made here, and small: a failure is a mistake in this module"
    )]
    fn render(mut self, steps: &[(usize, Step)]) -> Made {
        for (place, step) in steps {
            let change = self.change(*step).expect("a valid operation");
            self.made.changes.push((*place, change));
        }
        self.made
    }

    fn change(&mut self, step: Step) -> Result<Change, Invalid> {
        Ok(match step {
            Step::Accept(mark) => self.accept(mark)?,
            Step::Remove(mark) => Change::Removed {
                did: self.did_of(mark),
                hash: hex::encode(content_hash(&self.content(mark).json)?),
            },
            Step::Confirm(did) => Change::Confirmed {
                did: self.did(did),
                events: Vec::new(),
            },
            Step::Block(height) => Change::Block {
                json: block(height),
            },
        })
    }

    fn accept(&mut self, mark: MarkId) -> Result<Change, Invalid> {
        let content = self.content(mark);
        let Signed { json, hash, digest } = self.signer(content.key).sign(
            &content.json,
            &content.signed,
            content.signer.as_deref(),
        )?;
        self.made.digests.insert(mark, digest);
        let did = self.did_of(mark);
        let cid = object::content_id(&digest);
        let mut draw = self.draw(mark);
        let (registry, ordinal, named) = draw.place();
        let origin = Origin {
            registry,
            time: &content.signed,
            ordinal: &ordinal,
            did: &did,
            opid: named.then_some(&cid),
        };
        let known = Known {
            hash: hex::encode(hash),
            cid: cid.clone(),
            previd: content.previd,
        };
        let event = Event::known(&origin, &json, known);
        Ok(Change::Accepted { did, event })
    }

    fn content(&mut self, mark: MarkId) -> Content {
        let plan = self.plan;
        let planned = *plan.mark(mark);
        let subject = *plan.did(planned.did);
        let is_agent = plan.is_agent(planned.did);
        let mut draw = self.draw(mark);
        let signed = draw.signed();
        let before = plan.before(mark);
        let previd = before.map(|before| self.cid(before));
        let previd_text = previd.as_deref().unwrap_or_default();
        let json = match planned.kind {
            Kind::Agent => {
                let (created, registry) = (draw.created(), draw.registry(subject.local));
                operation::agent_create(&created, registry, &self.signer(planned.key).jwk())
            }
            Kind::Asset => {
                let (created, registry) = (draw.created(), draw.registry(subject.local));
                let owner = self.did(subject.owner);
                operation::asset_create(&created, registry, &owner, &draw.data())
            }
            Kind::Update if is_agent => {
                let jwk = self.signer(planned.key).jwk();
                let did = self.did(planned.did);
                operation::agent_update(&did, previd_text, &jwk, &draw.data())
            }
            Kind::Update => {
                let (did, owner) = (self.did(planned.did), self.did(subject.owner));
                operation::asset_update(&did, previd_text, &owner, &draw.data())
            }
            Kind::Delete => operation::delete(&self.did(planned.did), previd_text),
        };
        Content {
            json,
            signed,
            signer: (planned.kind != Kind::Agent).then(|| self.did(subject.owner)),
            previd,
            // An agent's change is signed with the key before it, which it may replace.
            key: before
                .filter(|_| is_agent)
                .map_or(planned.key, |before| plan.mark(before).key),
        }
    }

    fn draw(&self, mark: MarkId) -> Draw {
        Draw::new(self.renderer.seed, mark, self.renderer.late)
    }

    fn signer(&mut self, key: MarkId) -> &Signer {
        let seed = self.renderer.seed;
        let kept = self.renderer.signers.get(&key);
        kept.unwrap_or_else(|| {
            let signers = &mut self.made.signers;
            let derive = || Signer::derive(seed, key.into());
            signers.entry(key).or_insert_with(derive)
        })
    }

    fn did_of(&self, mark: MarkId) -> String {
        self.did(self.plan.mark(mark).did)
    }

    fn did(&self, did: DidId) -> String {
        format!("{DID}{}", self.cid(self.plan.did(did).first))
    }

    fn cid(&self, mark: MarkId) -> String {
        let here = self.made.digests.get(&mark);
        let digest = here.or_else(|| self.renderer.digests.get(mark as usize));
        object::content_id(digest.unwrap_or(&[0; 32]))
    }
}

fn block(height: u32) -> String {
    let hash = hex::encode(<[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(
        height.to_le_bytes(),
    )));
    let time = 1_706_745_600 + u64::from(height) * 600;
    format!(
        r#"{{"registry":"TBTC","block":{{"hash":"{hash}","height":{height},"time":{time}}},"removed":false}}"#
    )
}
