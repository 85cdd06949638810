//! Carries the plan out.

mod confine;
mod console;
mod cspace;
mod devices;
mod entropy;
mod give_up;
mod inject;
mod machine;
mod mapping;
mod own_device;
mod pages;
mod proof;
mod regions;
mod time;
mod watch;

use alloc::vec::Vec;

use init::pci::Place;
use init::timekeeper::Timekeeper;
use init::unfit::Unfit;
use init::{Domain, Plan, memory};
use ipc::boot::{Extent, FACTS_MAGIC, Facts, MAX_EXTENTS, place, slot, start};
use ipc::clock::ClockPage;
use sel4::cap::{CNode, Cache, IOPort, Notification, ObjectKind, Tcb};
use sel4::{BootInfo, Cap, Error, generation, init_slot};

use crate::hardware::{INTERVAL_TIMER_PORTS, Nic, stop_interval_timer};
use crate::machine::Generation;
use crate::resources::{Page, Resources, granule};
use crate::space::Space;
use crate::terminal::VirtioConsole;
use crate::ticker::Ticker;

use confine::Confinement;
use devices::Register;
use own_device::{OwnDevice, OwnSpace};
pub(crate) use watch::Gauge;

/// Where the root task maps a page for a moment.
const SCRATCH: u64 = 0x6000_0000;
/// Where the root task maps the domains' log rings, read-only.
const LOGS: u64 = 0x7000_0000;
/// Distance between two log rings there.
const LOG_STRIDE: u64 = 0x1_0000;
/// Vectors of the interrupts, as the kernel counts them.
const NIC_VECTOR: u64 = 10;
const TIMER_VECTOR: u64 = 11;
const PORT_VECTOR: u64 = 13;
/// Calls to the monitor's endpoint carry this bit: they are faults.
const FAULT_BADGE: u64 = 1 << 27;
/// The monitor's notification carries this bit: the clock has ticked.
pub(crate) const TICK_BADGE: u64 = 1 << 26;

/// What the monitor needs of a domain.
pub(crate) struct Watched {
    pub(crate) name: alloc::string::String,
    pub(crate) tcb: Tcb,
    /// Where its thread starts, and the end of its stack.
    pub(crate) start: (u64, u64),
    /// Its log ring in this address space.
    pub(crate) log: u64,
    /// Signals [`interrupt::DEADLINE`] to it.
    pub(crate) waker: Notification,
}

/// What is left when everything is built.
pub(crate) struct Built {
    pub(crate) domains: Vec<Watched>,
    /// The endpoint where faults arrive, bound to the notification of the logs.
    pub(crate) endpoint: sel4::cap::Endpoint,
    pub(crate) ticker: Ticker,
    pub(crate) gauge: Gauge,
    /// Where the machine has one.
    pub(crate) generation: Option<Generation>,
    pub(crate) capabilities: usize,
    /// Rate of the time-stamp counter.
    pub(crate) tsc_hz: u64,
    pub(crate) timekeeper: Timekeeper,
    /// Where it tells the time to all domains.
    pub(crate) clock: &'static ClockPage,
    /// Where the log goes from then on, where the machine has one.
    pub(crate) console: Option<VirtioConsole>,
}

/// Why there is no system.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// The kernel refused a step.
    Kernel(Error),
    /// What was built is not what was described; the log tells where.
    Policy,
    /// No sound random numbers.
    Random(getrandom::Error),
    /// A source of entropy that is there gives none; why.
    Entropy(&'static str),
    /// The machine lacks something.
    Machine(Unfit),
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        Self::Machine(unfit)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

/// Capabilities that all parts of the work need.
struct Work<'a> {
    plan: &'a Plan,
    resources: Resources,
    own: Space,
    image: Image,
    /// Slots, by the domain's number.
    endpoints: Vec<u64>,
    notifications: Vec<u64>,
    /// By the domain's number, until they are checked.
    cspaces: Vec<CNode>,
    /// Slots of the address spaces, by the domain's number.
    spaces: Vec<u64>,
    /// Slots, by the table's number.
    tables: Vec<u64>,
    /// Pages, by the region's number.
    regions: Vec<Vec<Page>>,
    nic: Option<Nic>,
    /// The buses that there are.
    buses: Vec<u8>,
    /// The NIC's address space, where there is an IOMMU.
    confinement: Option<Confinement>,
    /// Of the NIC and the timer, in their driver's space.
    registers: Vec<Register>,
    /// The source of entropy beside the processor, until it was asked.
    entropy: Option<OwnDevice>,
    /// The same, from then on.
    asked: Option<Place>,
    /// The console, until it is set up.
    console: Option<OwnDevice>,
    /// The same, from then on, and what it reaches, where there is an IOMMU.
    transmits: Option<(Place, OwnSpace)>,
    /// Slot of the page with the time, and the page.
    clock: Option<(u64, &'static ClockPage)>,
    capabilities: usize,
}

/// The image pages after the plan, as frames of the root task.
pub(crate) struct Image {
    /// Slot of the first image page.
    pub(crate) first_slot: u64,
    /// How many pages there are.
    pub(crate) pages: u64,
}

/// Builds everything and starts the domains, the highest priority first.
///
/// # Errors
/// The kernel refuses a step, or what was built is not what was described.
pub(crate) fn build(boot: &BootInfo, plan: &Plan, image: Image) -> Result<Built, Refusal> {
    let mut work = Work {
        plan,
        resources: Resources::new(boot)?,
        own: Space::own(),
        image,
        endpoints: Vec::new(),
        notifications: Vec::new(),
        cspaces: Vec::new(),
        spaces: Vec::new(),
        tables: Vec::new(),
        regions: Vec::new(),
        nic: None,
        buses: Vec::new(),
        confinement: None,
        registers: Vec::new(),
        entropy: None,
        asked: None,
        console: None,
        transmits: None,
        clock: None,
        capabilities: 0,
    };
    let (needed, there) = (memory::needed(plan), work.resources.total_memory());
    if needed > there {
        return Err(Unfit::Memory { needed, there }.into());
    }
    work.stop_interval_timer()?;
    for domain in &plan.domains {
        let endpoint = if domain.serves {
            work.resources.make(ObjectKind::Endpoint)?
        } else {
            0
        };
        work.endpoints.push(endpoint);
        let notification = work.resources.make(ObjectKind::Notification)?;
        work.notifications.push(notification);
    }
    work.make_tables()?;
    work.make_regions()?;
    work.find_entropy()?;
    work.find_console()?;
    work.fill_snapshot()?;
    let generation = work.map_generation()?;
    work.take_registers()?;
    let (timekeeper, tsc_hz) = work.read_clocks(boot)?;
    work.make_clock_page(&timekeeper)?;
    let mut facts = work.facts(tsc_hz);
    work.confine(boot.io_levels())?;
    work.gather_entropy(boot)?;
    let console = work.open_console(boot)?;
    let fault = work.resources.make(ObjectKind::Endpoint)?;
    let log = work.resources.make(ObjectKind::Notification)?;
    let mut domains = Vec::new();
    for (number, domain) in plan.domains.iter().enumerate() {
        facts.domain = number as u64;
        domains.push(work.make_domain(number, domain, &facts, fault, log)?);
    }
    let gauge = work.make_gauge()?;
    let capabilities = work.capabilities;
    work.inject(fault)?;
    work.prove(fault, log)?;
    // Not before the proof: what an interrupt signals would look like what it sends.
    work.connect_interrupts()?;
    let ticker = work.make_ticker(log)?;
    if work.prove_confinement()? > 0 {
        return Err(Refusal::Policy);
    }
    work.make_wakers(&mut domains)?;
    // Not before the proof: a bound notification wakes only its thread.
    for (domain, bound) in domains.iter().zip(&work.notifications) {
        // SAFETY: made above.
        let bound = unsafe { Notification::from_bits(*bound) };
        domain.tcb.bind_notification(&bound)?;
    }
    // SAFETY: made above; the monitor gets the only value for it.
    let endpoint = unsafe { Cap::from_bits(fault) };
    // SAFETY: made above.
    let notification = unsafe { Notification::from_bits(log) };
    // SAFETY: the kernel put this thread there.
    let own = unsafe { Tcb::from_bits(init_slot::TCB) };
    own.bind_notification(&notification)?;
    let stays: Vec<u64> = domains
        .iter()
        .flat_map(|domain| [domain.tcb.bits(), domain.waker.bits()])
        .chain([fault, log])
        .chain(ticker.slots())
        .chain([gauge.thread.bits(), gauge.endpoint])
        .collect();
    let (_, clock) = work.clock.ok_or(Error::InvalidArgument)?;
    work.give_up(boot, &stays)?;
    Ok(Built {
        domains,
        endpoint,
        ticker,
        gauge,
        generation,
        capabilities,
        tsc_hz,
        timekeeper,
        clock,
        console,
    })
}

/// Starts the domains, the highest priority first.
pub(crate) fn start(plan: &Plan, built: &Built) -> Result<(), Error> {
    let mut order: Vec<_> = plan.domains.iter().zip(&built.domains).collect();
    order.sort_by_key(|(domain, _)| core::cmp::Reverse(domain.priority));
    for (_, watched) in order {
        watched.tcb.resume()?;
    }
    Ok(())
}

impl Work<'_> {
    /// It ticks on the pin that the HPET uses.
    fn stop_interval_timer(&mut self) -> Result<(), Error> {
        let ports = self.ports(INTERVAL_TIMER_PORTS)?;
        stop_interval_timer(&ports)?;
        self.resources.slot(ports.bits()).delete()
    }

    /// What every domain learns at its start.
    fn facts(&self, tsc_hz: u64) -> Facts {
        let mut kernel = [0; 32];
        fill(&mut kernel, generation::KERNEL);
        Facts {
            magic: FACTS_MAGIC,
            domain: 0,
            tsc_hz,
            memory: self.resources.total_memory(),
            stack: 0,
            heap: 0,
            serves: 0,
            rekey_after: self.plan.rekey_after,
            name: [0; 32],
            kernel,
            extents: [Extent::default(); MAX_EXTENTS],
        }
    }

    /// The right to a range of I/O ports, for this task.
    pub(crate) fn ports(&mut self, (first, last): (u16, u16)) -> Result<IOPort, Error> {
        let slot = self.resources.take_slots(1)?;
        let source = self.resources.slot(init_slot::IO_PORT);
        let target = self.resources.slot(slot);
        target.issue_ports(&source, first, last)?;
        // SAFETY: made just now.
        Ok(unsafe { IOPort::from_bits(slot) })
    }

    fn make_domain(
        &mut self,
        number: usize,
        domain: &Domain,
        facts: &Facts,
        fault: u64,
        log: u64,
    ) -> Result<Watched, Refusal> {
        let mut space = Space::new(&mut self.resources)?;
        self.map_program(&mut space, domain)?;
        let mut facts = *facts;
        facts.stack = domain.stack;
        facts.heap = domain.heap;
        facts.serves = domain.serves.into();
        fill(&mut facts.name, &domain.name);
        for (extent, part) in facts.extents.iter_mut().zip(&domain.extents) {
            *extent = Extent {
                address: part.address,
                bytes: part.bytes,
                initial: part.initial,
                initial_bytes: part.initial_bytes,
            };
        }
        let page = Page::Small(self.resources.make_kept(ObjectKind::Granule)?);
        // SAFETY: the facts are plain numbers and fit a page.
        unsafe { self.fill_page(page, &facts)? };
        let resources = &mut self.resources;
        space.map(resources, page, place::FACTS, false, Cache::WriteBack)?;
        let buffer = resources.make_kept(ObjectKind::Granule)?;
        let buffer_page = Page::Small(buffer);
        space.map(
            resources,
            buffer_page,
            place::IPC_BUFFER,
            true,
            Cache::WriteBack,
        )?;
        self.leave_seed(&mut space)?;
        self.map_clock(&mut space)?;
        for (address, bytes) in [(place::STACK, domain.stack), (place::HEAP, domain.heap)] {
            let pages = self.resources.make_pages(address, bytes)?;
            space.map_all(&mut self.resources, &pages, address, true)?;
        }
        let watched_log = LOGS + number as u64 * LOG_STRIDE;
        self.map_log(&mut space, watched_log)?;
        self.map_regions(&mut space, domain)?;
        if self
            .plan
            .device
            .is_some_and(|device| usize::from(device.domain) == number)
        {
            for register in core::mem::take(&mut self.registers) {
                let page = Page::Small(register.slot);
                let resources = &mut self.resources;
                space.map(resources, page, register.address, true, Cache::Uncacheable)?;
            }
        }
        let tcb = self.resources.make(ObjectKind::Tcb)?;
        // SAFETY: made just now; the monitor gets the only value for it.
        let tcb = unsafe { Tcb::from_bits(tcb) };
        let cspace = self.make_cspace(number, domain, fault, log)?;
        tcb.configure(
            slot::cptr(slot::FAULT),
            domain.priority,
            &cspace,
            space.vspace(),
            place::IPC_BUFFER,
            // SAFETY: made above.
            &unsafe { granule(buffer) },
        )?;
        self.cspaces.push(cspace);
        self.spaces.push(space.vspace().bits());
        let start = (domain.entry, place::STACK + domain.stack);
        tcb.write_start(start.0, start.1, start::FIRST)?;
        Ok(Watched {
            name: domain.name.clone(),
            tcb,
            start,
            log: watched_log,
            // Made when the proof is over.
            // SAFETY: no capability.
            waker: unsafe { Notification::from_bits(0) },
        })
    }
}

fn lookup<T>(list: &[T], number: u16) -> Result<&T, Error> {
    list.get(usize::from(number)).ok_or(Error::RangeError)
}

/// Puts as much of `text` as fits into `bytes`.
fn fill(bytes: &mut [u8; 32], text: &str) {
    for (byte, value) in bytes.iter_mut().zip(text.bytes()) {
        *byte = value;
    }
}
