// Package ratelimit bounds what one caller may ask for: so many calls in any stretch of time of a given length, over
// all processes.
//
// A Limit is what a class of calls may do, and a Charge is one call's bill: it is opened at the edge, charged once, and
// knows afterwards what the caller has left. Where a call is counted depends on what it is:
//
//	keyed writes   in Redis, in the script that also claims the Idempotency-Key: shared/idempotency runs it, with Script
//	               in front of its own part. A repeat of an answered key is charged to a budget of its own, of ten
//	               times the quota, and a refused call counts nothing
//	other calls    in this process, against shares of the window that are leased from Redis in blocks (Charge.Take)
//	no Redis       in this process alone (WhenAway says with how much)
//
// A window slides in ten slots. A call counts until its slot is wholly outside of the window, so no window of the
// policy's length ever admits more than the quota of keyed writes; what was used comes back up to a tenth of the window
// late. Of other calls it admits at most a fiftieth more per process, and they come back up to a fifth late: see
// Charge.Take.
//
// Read policy.go, then script.go for how Redis counts, charge.go, and lease.go.
package ratelimit
