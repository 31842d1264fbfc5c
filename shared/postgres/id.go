package postgres

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// NewID makes a UUIDv7 (RFC 9562, section 5.7) for the time at. Ids that choose a partition must be given the
// database's time: an instance whose clock is off would otherwise write rows that fit no partition.
func NewID(at time.Time) uuid.UUID {
	var id uuid.UUID
	_, _ = rand.Read(id[6:]) // never fails: crypto/rand aborts the program rather than return an error
	ms := at.UnixMilli()
	binary.BigEndian.PutUint32(id[0:4], uint32(ms>>16)) //nolint:gosec // the upper 32 of 48 bits
	binary.BigEndian.PutUint16(id[4:6], uint16(ms))     //nolint:gosec // the lower 16 of 48 bits
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// FirstID is the smallest id that NewID could make for the time at: the bound of a search by time, like uuidv7_floor
// in SQL.
func FirstID(at time.Time) (id uuid.UUID) {
	ms := max(at.UnixMilli(), 0)
	binary.BigEndian.PutUint32(id[0:4], uint32(ms>>16)) //nolint:gosec // the upper 32 of 48 bits
	binary.BigEndian.PutUint16(id[4:6], uint16(ms))     //nolint:gosec // the lower 16 of 48 bits
	return id
}
