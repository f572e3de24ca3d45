//! What has to be declared before what.
//!
//! A type is needed in one of two ways. *Complete*: its size must be known, as for members and array elements. *Declared*:
//! its name must be known, as behind pointers. Structs, unions, enums, typedefs (and integers that C does not have) are
//! declarations of their own; whatever else is written in place, wherever it is needed, and passes on what it needs itself.
//!
//! So the types with their needs are a graph, and an order is a walk through it that leaves a declaration after all that it
//! needs. A struct that is needed declared only needs nothing, since `struct foo;` can be put anywhere, which is what breaks
//! the cycles of linked structs. Any other cycle cannot be written in C. The walk keeps its own stack, so that no input makes
//! it overflow.

use super::c::DumpError;
use super::names::builtin;
use crate::btf::Btf;
use crate::types::*;

/// How deep types may be written inside one another.
const MAX_INLINE: u8 = 128;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    Declared = 0,
    Complete = 1,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    New,
    Active,
    /// How deep types are written inside this one.
    Done(u8),
}

/// An order in which to declare `roots` and what they need: the types that are declarations of their own.
pub(super) fn order(btf: &Btf, roots: &[TypeId]) -> Result<Vec<TypeId>, DumpError> {
    let mut walk = Walk {
        btf,
        states: vec![[State::New; 2]; btf.len()],
        steps: Vec::new(),
        stack: Vec::new(),
    };
    let anonymous = |id: &TypeId| {
        let ty = btf.get(*id);
        matches!(ty, Some(Type::Enum(t) | Type::Enum64(t)) if t.name.is_empty())
    };
    for &id in roots.iter().filter(|id| !anonymous(id)) {
        walk.from(id)?;
    }
    // Those that are written elsewhere must not be written again: their values would have two names.
    for &id in roots.iter().filter(|id| anonymous(id)) {
        if walk.state(id, Need::Complete) == State::New {
            walk.from(id)?;
            walk.steps.push(id);
        }
    }
    Ok(walk.steps)
}

/// A type on the way, and how far its needs have been seen to.
struct Frame {
    id: TypeId,
    need: Need,
    next: usize,
    depth: u8,
}

struct Walk<'a> {
    btf: &'a Btf,
    states: Vec<[State; 2]>,
    steps: Vec<TypeId>,
    stack: Vec<Frame>,
}

impl Walk<'_> {
    fn from(&mut self, root: TypeId) -> Result<(), DumpError> {
        self.enter(root, Need::Complete)?;
        while let Some(frame) = self.stack.last_mut() {
            let (id, need, index) = (frame.id, frame.need, frame.next);
            frame.next += 1;
            match self.needs(id, need, index) {
                Some((target, need)) => self.enter(target, need)?,
                None => self.leave()?,
            }
        }
        Ok(())
    }

    fn state(&self, id: TypeId, need: Need) -> State {
        let state = self.states.get(id.0 as usize);
        state.map_or(State::Done(0), |state| state[need as usize])
    }

    fn set(&mut self, id: TypeId, need: Need, state: State) {
        if let Some(states) = self.states.get_mut(id.0 as usize) {
            states[need as usize] = state;
        }
    }

    fn enter(&mut self, id: TypeId, need: Need) -> Result<(), DumpError> {
        let need = self.either_way(id).unwrap_or(need);
        let by_name = matches!(self.btf.get(id), Some(Type::Struct(_) | Type::Union(_))) && need == Need::Declared;
        if by_name {
            return Ok(());
        }
        match self.state(id, need) {
            State::Active => return Err(DumpError::Cycle { id }),
            State::Done(depth) => return self.contains(id, depth),
            State::New => {}
        }
        self.set(id, need, State::Active);
        self.stack.push(Frame {
            id,
            need,
            next: 0,
            depth: 0,
        });
        Ok(())
    }

    /// Takes the type on top off the stack, now that all that it needs is there.
    fn leave(&mut self) -> Result<(), DumpError> {
        let Some(Frame { id, need, depth, .. }) = self.stack.pop() else {
            return Ok(());
        };
        let mut depth = depth.saturating_add(1);
        if self.declares(id, need) {
            self.steps.push(id);
            depth = 0;
        }
        self.set(id, need, State::Done(depth));
        self.contains(id, depth)
    }

    /// Notes that the type on top of the stack contains one in which types are written `depth` deep.
    fn contains(&mut self, id: TypeId, depth: u8) -> Result<(), DumpError> {
        if depth > MAX_INLINE {
            let max = MAX_INLINE.into();
            return Err(DumpError::TooDeep { id, max });
        }
        if let Some(parent) = self.stack.last_mut() {
            parent.depth = parent.depth.max(depth);
        }
        Ok(())
    }

    /// The one need that a type has whichever is asked for; `None` if it makes a difference.
    fn either_way(&self, id: TypeId) -> Option<Need> {
        match self.btf.get(id)? {
            Type::Struct(t) | Type::Union(t) => t.name.is_empty().then_some(Need::Complete),
            Type::Typedef(_) | Type::Volatile(_) | Type::Const(_) | Type::Restrict(_) | Type::TypeTag(_) => None,
            _ => Some(Need::Complete),
        }
    }

    /// Whether a type that is needed so is a declaration of its own.
    fn declares(&self, id: TypeId, need: Need) -> bool {
        match self.btf.get(id) {
            Some(Type::Struct(t) | Type::Union(t)) => !t.name.is_empty(),
            Some(Type::Enum(t) | Type::Enum64(t)) => !t.name.is_empty(),
            Some(Type::Fwd(_)) => true,
            Some(Type::Typedef(_)) => need == Need::Declared,
            Some(Type::Int(t)) => builtin(t).is_none(),
            Some(Type::Float(t)) => !matches!(t.size, 4 | 8),
            _ => false,
        }
    }

    /// What a type needs, one after the other.
    fn needs(&self, id: TypeId, need: Need, index: usize) -> Option<(TypeId, Need)> {
        let only = |target| (index == 0).then_some(target);
        match self.btf.get(id)? {
            Type::Struct(t) | Type::Union(t) => Some((t.members.get(index)?.ty, Need::Complete)),
            Type::Typedef(t) if need == Need::Declared => only((t.ty, Need::Declared)),
            Type::Typedef(t) => match index {
                0 => Some((id, Need::Declared)),
                1 => Some((t.ty, Need::Complete)),
                _ => None,
            },
            Type::Volatile(to) | Type::Const(to) | Type::Restrict(to) => only((*to, need)),
            Type::TypeTag(t) => only((t.ty, need)),
            Type::Ptr(to) => only((*to, Need::Declared)),
            Type::Array(t) => only((t.elem, Need::Complete)),
            Type::FuncProto(t) => match index.checked_sub(1) {
                None => Some((t.ret, Need::Declared)),
                Some(index) => Some((t.params.get(index)?.ty, Need::Declared)),
            },
            Type::Func(t) => only((t.proto, Need::Declared)),
            Type::Var(t) => only((t.ty, Need::Complete)),
            Type::Datasec(t) => Some((t.vars.get(index)?.ty, Need::Complete)),
            Type::DeclTag(t) => only((t.ty, Need::Complete)),
            Type::Void | Type::Int(_) | Type::Enum(_) | Type::Enum64(_) | Type::Fwd(_) | Type::Float(_) => None,
        }
    }
}
