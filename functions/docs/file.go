package docs

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/company/order-catalog-service/shared/rest"
)

const html = "text/html; charset=utf-8"

// file is kept only compressed: the reference's script is 1.7 MB, and clients that can't take gzip are so rare
// that unpacking for them each time is cheaper than a second copy in every instance.
type file struct {
	contentType string
	packed      []byte
	etag        string
}

func newFile(contentType string, body []byte) (file, error) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(body); err != nil {
		return file{}, fmt.Errorf("compressing a page: %w", err)
	}
	if err := w.Close(); err != nil {
		return file{}, fmt.Errorf("compressing a page: %w", err)
	}
	return newPacked(contentType, packed.Bytes()), nil
}

func newPacked(contentType string, packed []byte) file {
	return file{contentType, packed, rest.ETag(packed)}
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	zip := acceptsGzip(r.Header.Values("Accept-Encoding"))
	etag := f.etag
	if !zip {
		etag = strings.TrimSuffix(etag, `"`) + `-plain"` // other bytes need another strong validator
	}
	h.Add("Vary", "Accept-Encoding")
	h.Set("ETag", etag)
	// Revalidated each time: the names don't change with the content, and a 304 is small.
	h.Set("Cache-Control", "public, no-cache")
	if rest.MatchWeak(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.contentType)
	var body io.Reader = bytes.NewReader(f.packed)
	if zip {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(f.packed)))
	} else {
		plain, err := gzip.NewReader(body)
		if err != nil {
			panic(err) // the bundled file is damaged; the edge logs it and answers 500
		}
		body = plain
	}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, body) // a client that left is nobody to tell
	}
}

// acceptsGzip reads Accept-Encoding: gzip or *, unless its weight is zero. A name of its own rules over *.
func acceptsGzip(headers []string) bool {
	star := false
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		coding, weight, _ := strings.Cut(part, ";")
		_, q, weighted := strings.Cut(weight, "=")
		n, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
		wanted := !weighted || (err == nil && n > 0)
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			return wanted
		case "*":
			star = wanted
		}
	}
	return star
}

// File serves a body at whatever address it is registered for: compressed, and revalidated each time.
func File(contentType string, body []byte) (http.Handler, error) {
	f, err := newFile(contentType, body)
	return http.HandlerFunc(f.serve), err
}

// Packed is File for a body that is compressed with gzip already.
func Packed(contentType string, packed []byte) http.Handler {
	return http.HandlerFunc(newPacked(contentType, packed).serve)
}
