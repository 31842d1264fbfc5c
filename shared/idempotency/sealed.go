package idempotency

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// seal is the answer as its row keeps it. The key's digest is bound in: a sealed body that is copied into another
// row, where somebody else could have it replayed, doesn't open.
func (s *Store) seal(req Request, a Answer) (Answer, error) {
	if !req.Sealed {
		return a, nil
	}
	if s.box == nil {
		return Answer{}, errors.New("a sealed answer can't be stored: the store has no box")
	}
	digest := req.Digest()
	a.Body = s.box.Seal(a.Body, digest[:])
	return a, nil
}

// scan is ScanFound with the body as the caller was sent it.
func (s *Store) scan(rows pgx.Rows, req Request) (*Found, error) {
	found, err := ScanFound(rows, req)
	if err != nil || found == nil || found.Expired || !req.Sealed {
		return found, err
	}
	if s.box == nil {
		return nil, errors.New("a sealed answer can't be read: the store has no box")
	}
	digest := req.Digest()
	if found.Answer.Body, err = s.box.Open(found.Answer.Body, digest[:]); err != nil {
		return nil, fmt.Errorf("reading a stored answer: %w", err)
	}
	return found, nil
}
