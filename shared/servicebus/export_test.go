package servicebus

import (
	"crypto/tls"
)

// OpenAt is Open for a namespace that is found at another address, with its certificate.
func OpenAt(o Options, address string, config *tls.Config) (*Client, error) {
	options := clientOptions()
	options.CustomEndpoint, options.TLSConfig = address, config
	return open(o, options)
}
