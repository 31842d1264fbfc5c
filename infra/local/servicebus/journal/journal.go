// Package journal keeps records in a file so that a killed process finds them again. It is appended to, committed in
// groups (whoever waits first writes for all who wait), and rewritten when most of it is history.
//
// A commit without fsync survives kill -9 of the process; with it, also the loss of power.
//
// Read here for writing, then open.go for reading back what a dying process left.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
)

const (
	magic    = "servicebus journal 1\n"
	headSize = 8        // of a record: its length and its checksum
	maxBytes = 64 << 20 // of a record; a longer one is damage
)

// errClosed is what a commit meets after Close.
var errClosed = errors.New("the journal is closed")

// Journal is an open journal. Append and Rewrite are for one caller at a time, Commit is for any number.
type Journal struct {
	path string
	sync bool

	mu       sync.Mutex
	idle     sync.Cond // no write is under way
	file     *os.File
	pending  []byte // appended, not yet written
	spare    []byte // the buffer of the last write, for the next
	appended uint64 // positions: bytes ever appended, and bytes that are in the file
	durable  uint64
	size     int64
	writing  bool
	err      error // the first failure; nothing is promised after it
}

// Append adds a record. It is in the file once Commit has returned for the position that Append returns.
func (j *Journal) Append(record []byte) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := len(j.pending)
	j.pending = appendRecord(j.pending, record)
	j.appended += uint64(len(j.pending) - before) //nolint:gosec // it grew
	return j.appended
}

func appendRecord(b, record []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(record))) //nolint:gosec // far below 4 GB
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(record))
	return append(b, record...)
}

// Position is where the last record ends; committing it commits everything so far.
func (j *Journal) Position() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.appended
}

// Size is how long the file is, or will be when everything is committed.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size + int64(len(j.pending))
}

// Commit returns when everything up to position is in the file. Whoever comes while a write is under way waits for
// it, and the first of them writes for all.
func (j *Journal) Commit(position uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.durable < position && j.err == nil {
		if j.writing {
			j.idle.Wait()
			continue
		}
		j.write()
	}
	if j.durable >= position {
		return nil
	}
	return j.err
}

// write puts what is pending into the file; j.mu is held, and let go while the disk works.
func (j *Journal) write() {
	batch, target, file := j.pending, j.appended, j.file
	j.pending, j.spare, j.writing = j.spare[:0], nil, true
	j.mu.Unlock()
	_, err := file.Write(batch)
	if err == nil && j.sync {
		err = file.Sync()
	}
	j.mu.Lock()
	j.writing, j.size = false, j.size+int64(len(batch))
	if cap(batch) <= 4<<20 {
		j.spare = batch
	}
	if err != nil {
		// What of the batch is in the file is unknown, and after a failed fsync so is what was before it.
		j.err = fmt.Errorf("writing the journal: %w", err)
	} else {
		j.durable = target
	}
	j.idle.Broadcast()
}

// Rewrite replaces the file by what snapshot adds, which must be the state that all records so far amount to. When
// it fails, the old file stays as it was and in use.
func (j *Journal) Rewrite(snapshot func(add func(record []byte))) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.writing {
		j.idle.Wait()
	}
	if j.err != nil {
		return j.err
	}
	file, size, err := j.writeNew(snapshot)
	if err != nil {
		return fmt.Errorf("rewriting the journal: %w", err)
	}
	old := j.file
	j.file, j.size, j.pending, j.durable = file, size, j.pending[:0], j.appended
	j.idle.Broadcast()
	err = old.Close()
	if j.sync {
		// Until its name is on the disk, a loss of power brings the old file back, without what comes from here on.
		if j.err = syncFolder(j.path); j.err != nil {
			return j.err
		}
	}
	return err
}

func (j *Journal) writeNew(snapshot func(add func(record []byte))) (file *os.File, size int64, err error) {
	file, err = create(j.path + ".new")
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	size = int64(len(magic))
	var batch []byte
	flush := func() {
		if err == nil {
			_, err = file.Write(batch)
		}
		size += int64(len(batch))
		batch = batch[:0]
	}
	snapshot(func(record []byte) {
		if batch = appendRecord(batch, record); len(batch) >= 1<<20 {
			flush()
		}
	})
	flush()
	// The new file must be whole on the disk before its name is: a crash in between would leave an empty journal.
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(file.Name(), j.path)
	}
	return file, size, err
}

func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("opening the folder: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Close commits everything and closes the file.
func (j *Journal) Close() error {
	err := j.Commit(j.Position())
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.writing {
		j.idle.Wait()
	}
	if errors.Is(j.err, errClosed) {
		return nil
	}
	j.err = errClosed
	return errors.Join(err, j.file.Close())
}
