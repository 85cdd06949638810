//! The device's transport, which agrees to be confined.

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The device's addresses go through the machine's IOMMU (virtio 1.2 §6,
/// VIRTIO_F_ACCESS_PLATFORM). A device that offers it may refuse a driver that
/// does not take it (§6.1).
const ACCESS_PLATFORM: u64 = 1 << 33;

/// The inner transport, plus `VIRTIO_F_ACCESS_PLATFORM` where the device offers it: the
/// driver crate does not know that feature. Nothing else changes: the device's own
/// address space, if it has one, maps its memory at the physical addresses.
#[derive(Debug)]
pub struct Confined<T> {
    transport: T,
    /// What the driver does not know and accepts.
    accepted: u64,
}

impl<T> Confined<T> {
    /// Around `transport`.
    pub const fn new(transport: T) -> Self {
        Self {
            transport,
            accepted: 0,
        }
    }
}

impl<T: Transport> Transport for Confined<T> {
    fn device_type(&self) -> DeviceType {
        self.transport.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        let offered = self.transport.read_device_features();
        self.accepted = offered & ACCESS_PLATFORM;
        offered
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        let features = driver_features | self.accepted;
        self.transport.write_driver_features(features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.transport.max_queue_size(queue)
    }

    fn notify(&mut self, queue: u16) {
        self.transport.notify(queue);
    }

    fn get_status(&self) -> DeviceStatus {
        self.transport.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.transport.set_status(status);
    }

    fn set_guest_page_size(&mut self, guest_page_size: u32) {
        self.transport.set_guest_page_size(guest_page_size);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.transport.requires_legacy_layout()
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.transport
            .queue_set(queue, size, descriptors, driver_area, device_area);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.transport.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.transport.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.transport.ack_interrupt()
    }

    fn read_config_generation(&self) -> u32 {
        self.transport.read_config_generation()
    }

    fn read_config_space<T2: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T2> {
        self.transport.read_config_space(offset)
    }

    fn write_config_space<T2: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T2,
    ) -> Result<()> {
        self.transport.write_config_space(offset, value)
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// A device that offers features and takes down what was accepted.
    struct Offering<'a> {
        offered: u64,
        accepted: &'a Cell<u64>,
    }

    impl Transport for Offering<'_> {
        fn device_type(&self) -> DeviceType {
            DeviceType::Network
        }

        fn read_device_features(&mut self) -> u64 {
            self.offered
        }

        fn write_driver_features(&mut self, driver_features: u64) {
            self.accepted.set(driver_features);
        }

        fn max_queue_size(&mut self, _: u16) -> u32 {
            0
        }

        fn notify(&mut self, _: u16) {}

        fn get_status(&self) -> DeviceStatus {
            DeviceStatus::empty()
        }

        fn set_status(&mut self, _: DeviceStatus) {}

        fn set_guest_page_size(&mut self, _: u32) {}

        fn requires_legacy_layout(&self) -> bool {
            false
        }

        fn queue_set(&mut self, _: u16, _: u32, _: PhysAddr, _: PhysAddr, _: PhysAddr) {}

        fn queue_unset(&mut self, _: u16) {}

        fn queue_used(&mut self, _: u16) -> bool {
            false
        }

        fn ack_interrupt(&mut self) -> InterruptStatus {
            InterruptStatus::empty()
        }

        fn read_config_generation(&self) -> u32 {
            0
        }

        fn read_config_space<T: FromBytes + IntoBytes>(&self, _: usize) -> Result<T> {
            Err(virtio_drivers::Error::ConfigSpaceMissing)
        }

        fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> Result<()> {
            Err(virtio_drivers::Error::ConfigSpaceMissing)
        }
    }

    /// What is accepted when the device offers `offered` and its driver knows
    /// `known` of it.
    fn accepted(offered: u64, known: u64) -> u64 {
        let accepted = Cell::new(0);
        let mut transport = Confined::new(Offering {
            offered,
            accepted: &accepted,
        });
        let offered = transport.read_device_features();
        transport.write_driver_features(offered & known);
        accepted.get()
    }

    #[test]
    fn a_device_behind_an_iommu_is_told_that_its_driver_agrees() {
        let version_1 = 1 << 32;
        let offered = version_1 | 1 << 33 | 1 << 40;
        assert_eq!(accepted(offered, version_1), version_1 | 1 << 33);
    }

    #[test]
    fn a_device_that_offers_no_confinement_is_not_told_of_any() {
        let version_1 = 1 << 32;
        assert_eq!(accepted(version_1 | 1 << 40, version_1), version_1);
    }
}
