"""RDMA hosts in virtual machines, connected by vhost-user to a Farspan engine.

The guests are the distribution's own kernel with rdma_rxe on virtio-net, and a small initramfs made
of the distribution's packages. Needs no root, no hugepages and no network device of the machine.
Everything dies with this process.
"""
