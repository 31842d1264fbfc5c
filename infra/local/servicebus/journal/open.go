package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Open opens the journal at path, or begins one, and gives replay every record in order. A record that a dying
// process left unfinished at the end was never committed and is cut off; damage anywhere else is an error, since
// going on without what follows it would lose what was promised.
func Open(path string, fsync bool, replay func(record []byte) error) (*Journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the journal's folder: %w", err)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := begin(path); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // the caller's own file
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	j := &Journal{path: path, sync: fsync, file: file}
	j.idle.L = &j.mu
	if err = lock(file); err == nil {
		j.size, err = read(file, replay)
	}
	if err == nil {
		err = file.Truncate(j.size)
	}
	if err == nil {
		_, err = file.Seek(j.size, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), file.Close())
	}
	return j, nil
}

// begin makes an empty journal under a name of its own first, so that no half-written head is ever read.
func begin(path string) error {
	file, err := create(path + ".new")
	if err == nil {
		err = errors.Join(file.Sync(), file.Close())
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncFolder(path)
	}
	if err != nil {
		return fmt.Errorf("beginning the journal: %w", err)
	}
	return nil
}

func create(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // the caller's own file
	if err != nil {
		return nil, fmt.Errorf("creating: %w", err)
	}
	if err = lock(file); err == nil {
		_, err = file.WriteString(magic)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// lock refuses a second process: two that append to one file destroy it. The kernel drops the lock with the process.
func lock(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("another process has it open")
	}
	return err
}

// read replays the file and returns how much of it is good.
func read(file *os.File, replay func(record []byte) error) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReaderSize(file, 1<<20)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != magic {
		return 0, errors.New("this is no journal of this version; move it away to begin a new one")
	}
	for at := int64(len(magic)); ; {
		record, whole, err := readRecord(r, info.Size()-at)
		if err != nil {
			return 0, err
		}
		if !whole {
			return at, unfinished(file, at, info.Size(), int64(len(record)))
		}
		if err := replay(record); err != nil {
			return 0, fmt.Errorf("the record at byte %d: %w", at, err)
		}
		at += headSize + int64(len(record))
	}
}

// readRecord reads the next record; whole is false when there is none, or none that is as it was written.
func readRecord(r io.Reader, left int64) (record []byte, whole bool, err error) {
	if left < headSize {
		return nil, false, nil
	}
	var head [headSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, false, err
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n == 0 || n > maxBytes || n > left-headSize {
		return nil, false, nil
	}
	record = make([]byte, n)
	if _, err := io.ReadFull(r, record); err != nil {
		return nil, false, err
	}
	return record, crc32.ChecksumIEEE(record) == binary.BigEndian.Uint32(head[4:]), nil
}

// unfinished tells a last record that a dying process left (nil) from damage. It is the last when its bytes reach the
// end of the file, or when nothing but zeros follows, as file systems leave it after a loss of power.
func unfinished(file io.ReaderAt, at, size, length int64) error {
	if length > 0 && at+headSize+length == size {
		return nil
	}
	rest, err := io.ReadAll(io.NewSectionReader(file, at, size-at))
	if err != nil {
		return err
	}
	if len(rest) < headSize || allZero(rest) {
		return nil
	}
	if n := int64(binary.BigEndian.Uint32(rest)); n > 0 && n <= maxBytes && n > int64(len(rest))-headSize {
		return nil
	}
	return fmt.Errorf("it is damaged at byte %d of %d; move it away to begin a new one, or restore it", at, size)
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
