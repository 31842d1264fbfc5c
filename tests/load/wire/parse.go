package wire

import "bytes"

// head is what matters of an answer's first lines.
type head struct {
	status  int
	length  int // -1: none given
	chunked bool
	close   bool
}

// head reads the lines that begin at from, and says where the body begins.
func (c *Conn) head(from int) (head, int, error) {
	h := head{length: -1}
	line, at, err := c.line(from)
	if err != nil {
		return h, 0, err
	}
	// HTTP/1.1 200 OK; the reason may be missing.
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return h, 0, ErrMalformed
	}
	if h.status, err = number(line[9:12], 10); err != nil {
		return h, 0, err
	}
	h.close = line[7] == '0'
	for {
		if line, at, err = c.line(at); err != nil {
			return h, 0, err
		}
		if len(line) == 0 {
			return h, at, nil
		}
		if err := h.field(line); err != nil {
			return h, 0, err
		}
	}
}

// field notes a header field, if it is one of three.
func (h *head) field(line []byte) (err error) {
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found {
		return ErrMalformed
	}
	value = bytes.TrimSpace(value)
	switch { // by length first: most lines are of no interest
	case len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")):
		h.length, err = number(value, 10)
	case len(name) == len("Transfer-Encoding") && bytes.EqualFold(name, []byte("Transfer-Encoding")):
		if !bytes.EqualFold(value, []byte("chunked")) {
			return ErrMalformed
		}
		h.chunked = true
	case len(name) == len("Connection") && bytes.EqualFold(name, []byte("Connection")):
		h.close = h.close || bytes.EqualFold(value, []byte("close"))
	}
	return err
}

// line is the line at from without its end, and where the next one begins. It is valid until the next read.
func (c *Conn) line(from int) ([]byte, int, error) {
	for looked := from; ; {
		if i := bytes.IndexByte(c.buffer[looked:c.end], '\n'); i >= 0 {
			end := looked + i
			return bytes.TrimSuffix(c.buffer[from:end], []byte("\r")), end + 1, nil
		}
		looked = c.end
		if err := c.more(); err != nil {
			return nil, 0, err
		}
	}
}

// chunks reads a chunked body, moving its parts together, and says where its last line ends.
func (c *Conn) chunks(from int) (body []byte, end int, err error) {
	to, at := from, from
	for {
		line, next, err := c.line(at)
		if err != nil {
			return nil, 0, err
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := number(bytes.TrimSpace(size), 16)
		if err != nil {
			return nil, 0, err
		}
		if n == 0 {
			end, err := c.trailers(next)
			return c.buffer[from:to], end, err
		}
		if to-from+n > most {
			return nil, 0, ErrTooLarge
		}
		if err := c.fill(next + n); err != nil {
			return nil, 0, err
		}
		copy(c.buffer[to:], c.buffer[next:next+n])
		to += n
		line, at, err = c.line(next + n)
		if err != nil {
			return nil, 0, err
		}
		if len(line) != 0 {
			return nil, 0, ErrMalformed
		}
	}
}

// trailers skips what may follow the last chunk, up to an empty line.
func (c *Conn) trailers(at int) (int, error) {
	for {
		line, next, err := c.line(at)
		if err != nil || len(line) == 0 {
			return next, err
		}
		at = next
	}
}

// number reads digits of a base and nothing else; what is too large for any answer is an error too.
func number(digits []byte, base int) (int, error) {
	if len(digits) == 0 || len(digits) > 10 {
		return 0, ErrMalformed
	}
	n := 0
	for _, d := range digits {
		v := 99
		switch {
		case d >= '0' && d <= '9':
			v = int(d - '0')
		case d >= 'a' && d <= 'f':
			v = int(d-'a') + 10
		case d >= 'A' && d <= 'F':
			v = int(d-'A') + 10
		}
		if v >= base {
			return 0, ErrMalformed
		}
		n = n*base + v
	}
	return n, nil
}
