// Package secrets brings the process its secrets, and their successors while it runs: from an Azure Key Vault where
// there is one, from the environment otherwise, and tokens of its managed identity for what needs no secret at all.
//
// A Store knows the versions of each secret. Connections use the newest one, at once. What the process itself signs or
// seals (JWTSigningKey, WebhookSecret) is read with all of them and made with a version only when every process has
// had the time to learn of it: until then the one before goes on.
//
// Reading order: secrets.go is what a Store tells; refresh.go keeps it fresh; vault.go asks Key Vault; identity.go is
// tokens.
package secrets

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The secrets, by their names in the vault.
const (
	PostgreSQL    = "PostgreSQL-ConnectionString"
	Redis         = "Redis-AccessKey"
	ServiceBus    = "ServiceBus-ConnectionString"
	JWTSigningKey = "JwtSigningKey"
	WebhookSecret = "WebhookSecret"
)

// versionsOf is how many versions of a secret are kept: of a connection's the newest, of a key those that something
// may still have been made with. A vault's old versions are retired by disabling them there.
func versionsOf(name string) int {
	switch name {
	case JWTSigningKey:
		return 3 // cursors live for minutes
	case WebhookSecret:
		return 50 // what is sealed lives until it is sealed anew
	default:
		return 1
	}
}

// Version is one value that a secret has or had.
type Version struct {
	ID      string
	Value   string
	Created time.Time
}

// Store is the versions of each secret, newest first.
type Store struct {
	vault    *vault // nil: the environment is all there is
	names    []string
	fallback map[string][]string
	every    time.Duration
	logger   *slog.Logger
	now      func() time.Time
	hurry    chan struct{}
	metrics  metrics

	versions atomic.Pointer[map[string][]Version]

	mu        sync.Mutex
	listeners []func()
	told      map[string][]string // what the listeners saw, by name
}

// Fixed is a Store that never changes: the environment's values by name, newest first.
func Fixed(values map[string][]string) *Store {
	s := &Store{now: time.Now, hurry: make(chan struct{}, 1)}
	versions := make(map[string][]Version)
	for name, list := range values {
		versions[name] = asVersions(list)
	}
	s.versions.Store(&versions)
	return s
}

// asVersions are values without a history: all of them are old enough to be used.
func asVersions(values []string) (list []Version) {
	for _, value := range values {
		if value != "" {
			list = append(list, Version{ID: "environment", Value: value})
		}
	}
	return list
}

// Get is a secret's newest value, "" when there is none.
func (s *Store) Get(name string) string {
	if list := (*s.versions.Load())[name]; len(list) > 0 {
		return list[0].Value
	}
	return ""
}

// settle is how old a version must be before something is made with it: by then every process has looked at the
// vault again, even one whose first look failed. Two looks are at the most so far apart.
func (s *Store) settle() time.Duration { return 2 * s.farthest() }

// farthest is the longest time from one look to the end of the next.
func (s *Store) farthest() time.Duration { return s.every*6/5 + roundTime + leastPause }

// Keys are a secret's values for signing or sealing: the first one makes, all of them read. It is the newest version
// that every process knows by now.
func (s *Store) Keys(name string) (keys [][]byte) {
	list := (*s.versions.Load())[name]
	first := len(list) - 1
	for i, v := range list {
		if s.now().Sub(v.Created) >= s.settle() {
			first = i
			break
		}
	}
	for i, v := range list {
		if i != first {
			keys = append(keys, []byte(v.Value))
		}
	}
	if first < 0 {
		return nil
	}
	return slices.Insert(keys, 0, []byte(list[first].Value))
}

// Settles is when every process makes things with the newest version of a key, which each begins with at its first look
// after the version has settled; the zero time when that is over.
func (s *Store) Settles(name string) time.Time {
	list := (*s.versions.Load())[name]
	if len(list) < 2 {
		return time.Time{}
	}
	if at := list[0].Created.Add(s.settle() + s.farthest()); at.After(s.now()) {
		return at
	}
	return time.Time{}
}

// OnChange has f called after each change of a value or of what Keys begins with. f must not wait for long.
func (s *Store) OnChange(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, f)
}

// tell calls the listeners when what they would see has changed.
func (s *Store) tell() {
	s.mu.Lock()
	seen := make(map[string][]string)
	for name := range *s.versions.Load() {
		seen[name] = []string{s.Get(name)}
		for _, k := range s.Keys(name) {
			seen[name] = append(seen[name], string(k))
		}
	}
	same := s.told != nil && len(seen) == len(s.told)
	for name, values := range seen {
		same = same && slices.Equal(values, s.told[name])
	}
	first := s.told == nil
	s.told = seen
	listeners := slices.Clone(s.listeners)
	s.mu.Unlock()
	if same || first {
		return
	}
	for _, f := range listeners {
		f()
	}
}
