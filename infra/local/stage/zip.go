package stage

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Package is a zip as it is deployed.
type Package struct {
	Path   string
	Size   int64
	SHA256 string // in hexadecimal
}

// packed is the date of every file in a zip: when a file was copied says nothing about what is in it.
var packed = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// Zip packs a staged script root into the file out. The same files give the same bytes, whenever and wherever: names in
// order, one date, and of the mode only whether a file can be executed. Settings of a developer's machine stay out.
func Zip(dist, out string) (p Package, err error) {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil { //nolint:gosec // read by whoever deploys
		return p, fmt.Errorf("packing %s: %w", dist, err)
	}
	fresh, err := os.CreateTemp(filepath.Dir(out), filepath.Base(out)+".new-")
	if err != nil {
		return p, fmt.Errorf("packing %s: %w", dist, err)
	}
	defer os.Remove(fresh.Name()) //nolint:errcheck // after the rename there is none
	sum := sha256.New()
	err = errors.Join(write(io.MultiWriter(fresh, sum), dist), fresh.Chmod(0o644), fresh.Close())
	if err != nil {
		return p, fmt.Errorf("packing %s: %w", dist, err)
	}
	info, err := os.Stat(fresh.Name())
	if err != nil {
		return p, fmt.Errorf("packing %s: %w", dist, err)
	}
	if err := os.Rename(fresh.Name(), out); err != nil {
		return p, fmt.Errorf("packing %s: %w", dist, err)
	}
	return Package{Path: out, Size: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

func write(to io.Writer, dist string) error {
	archive := zip.NewWriter(to)
	// WalkDir goes by name, so the order is the names' own.
	err := filepath.WalkDir(dist, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "local.settings.json" {
			return err
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is no file: it would be packed as what it is not", path)
		}
		return add(archive, dist, path)
	})
	return errors.Join(err, archive.Close())
}

func add(archive *zip.Writer, dist, path string) error {
	below, err := filepath.Rel(dist, path)
	if err != nil {
		return err
	}
	file, err := os.Open(path) //nolint:gosec // of the staged folder
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header := &zip.FileHeader{Name: filepath.ToSlash(below), Method: zip.Deflate, Modified: packed}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755 // the host must be able to execute what it unpacks
	}
	header.SetMode(mode)
	entry, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	_, err = io.Copy(entry, file)
	return err
}
