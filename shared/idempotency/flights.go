package idempotency

import (
	"crypto/sha256"
	"sync"
)

// flights are the keys being worked on in this process.
type flights struct {
	mu   sync.Mutex
	keys map[[sha256.Size]byte][sha256.Size]byte // digest -> fingerprint
}

// enter lets one request per key through until it leaves. Another is told ErrInFlight, or ErrKeyReused when it
// is a different request: waiting for the first would not help it.
func (f *flights) enter(key, fingerprint [sha256.Size]byte) (leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other, busy := f.keys[key]; busy {
		if other != fingerprint {
			return nil, ErrKeyReused
		}
		return nil, ErrInFlight
	}
	if f.keys == nil {
		f.keys = make(map[[sha256.Size]byte][sha256.Size]byte)
	}
	f.keys[key] = fingerprint
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.keys, key)
	}, nil
}
