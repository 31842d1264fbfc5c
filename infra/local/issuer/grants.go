package issuer

import (
	"crypto/rand"
	"strings"
	"sync"
	"time"
)

// grant is what a token says.
type grant struct {
	sub, scope, email string
	roles             []string
}

// grants are the refresh tokens that are out. They live in memory: after a restart a client asks for a new pair.
//
// A refresh token is good for one use. Using it gives the next of its family; one that comes a second time was
// copied, by whom nobody knows, so the whole family ends (RFC 9700, section 4.14.2).
type grants struct {
	mu       sync.Mutex
	families map[string]*family
}

type family struct {
	grant   grant
	current string // the one secret that is still good
	expires time.Time
}

func newGrants() *grants { return &grants{families: make(map[string]*family)} }

// begin starts a family and returns its first token.
func (g *grants) begin(what grant, now time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, f := range g.families {
		if now.After(f.expires) {
			delete(g.families, id)
		}
	}
	id := rand.Text()
	f := &family{grant: what}
	g.families[id] = f
	return f.next(id, now)
}

// redeem takes a token out of use and returns what it was for, and the next one.
func (g *grants) redeem(token string, now time.Time) (what grant, next string, ok bool) {
	id, secret, _ := strings.Cut(token, ".")
	g.mu.Lock()
	defer g.mu.Unlock()
	f, ok := g.families[id]
	if !ok {
		return grant{}, "", false
	}
	if f.current != secret || now.After(f.expires) {
		delete(g.families, id)
		return grant{}, "", false
	}
	return f.grant, f.next(id, now), true
}

func (f *family) next(id string, now time.Time) string {
	f.current, f.expires = rand.Text(), now.Add(refreshLife)
	return id + "." + f.current
}
