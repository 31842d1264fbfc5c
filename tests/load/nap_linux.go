package main

import (
	"syscall"
	"time"
)

// nap sleeps with the precision of the kernel's timers. The runtime's own sleep ends up to a millisecond late, which
// would count as the service's latency.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // who is woken early looks at the clock again
}
