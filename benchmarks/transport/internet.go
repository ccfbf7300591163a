// A registry as the internet has them, in front of a plain one on loopback: TLS, bearer tokens that expire, blobs behind a
// redirect to another host that refuses a login, a round-trip time, a capped rate for each connection and for all, a quota of
// manifest GETs. It counts what it is asked; /stats on the control address gives the figures and begins anew.
//
//	internet -backend URL -hub ADDR -cdn ADDR -control ADDR -names HUB,CDN -certificate FILE [-rtt MS] [-each MBIT] [-all MBIT] ...
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	backend     = flag.String("backend", "", "the plain registry, http://127.0.0.1:PORT")
	hub         = flag.String("hub", "127.0.0.1:0", "where the registry listens")
	cdn         = flag.String("cdn", "127.0.0.1:0", "where the host of the blobs listens")
	control     = flag.String("control", "127.0.0.1:0", "where figures are given, without TLS")
	names       = flag.String("names", "hub.example,cdn.example", "the names of the two hosts")
	certificate = flag.String("certificate", "ca.crt", "file to write the authority's certificate to")
	rtt         = flag.Float64("rtt", 40, "round-trip time in milliseconds")
	each        = flag.Float64("each", 0, "Mbit/s of one connection, 0 for no limit")
	all         = flag.Float64("all", 0, "Mbit/s of all connections together, 0 for no limit")
	expiry      = flag.Int("expiry", 300, "seconds that a token is good for")
	quota       = flag.Int("quota", 0, "manifest GETs in a window, 0 for no limit")
	window      = flag.Int("window", 3600, "seconds of a window")
)

// Figures of one measurement.
type figures struct {
	Connections   map[string]int `json:"connections"`
	Open          map[string]int `json:"open"`
	MostOpen      map[string]int `json:"mostOpen"`
	ManifestGets  int            `json:"manifestGets"`
	ManifestHeads int            `json:"manifestHeads"`
	BlobGets      int            `json:"blobGets"`
	Tokens        int            `json:"tokens"`
	Refused       int            `json:"refused"`
	Requests      int            `json:"requests"`
}

var (
	mu    sync.Mutex
	now   = fresh(nil)
	spent int
	since = time.Now()
)

func fresh(open map[string]int) *figures {
	f := &figures{Connections: map[string]int{}, Open: map[string]int{}, MostOpen: map[string]int{}}
	for host, n := range open {
		f.Open[host], f.MostOpen[host] = n, n
	}
	return f
}

// A bucket paces bytes at a rate; many writers may share it.
type bucket struct {
	mu   sync.Mutex
	rate float64
	next time.Time
}

func (b *bucket) take(n int) {
	if b.rate == 0 {
		return
	}
	b.mu.Lock()
	if t := time.Now(); b.next.Before(t) {
		b.next = t
	}
	b.next = b.next.Add(time.Duration(float64(n) / b.rate * 1e9))
	wait := time.Until(b.next)
	b.mu.Unlock()
	if wait > 2*time.Millisecond {
		time.Sleep(wait)
	}
}

var everyone = &bucket{}

type chunk struct {
	data []byte
	due  time.Time
}

// A farConn is a connection whose other end is half a round trip away in each direction.
type farConn struct {
	net.Conn
	host string
	in   chan chunk
	out  chan chunk
	left []byte
	err  error
	done sync.Once
	gone chan struct{}
}

func newFarConn(c net.Conn, host string) *farConn {
	f := &farConn{Conn: c, host: host, in: make(chan chunk, 64), out: make(chan chunk, 128), gone: make(chan struct{})}
	half := time.Duration(*rtt / 2 * float64(time.Millisecond))
	own := &bucket{rate: *each * 1e6 / 8}
	go func() {
		for {
			buffer := make([]byte, 32<<10)
			n, err := c.Read(buffer)
			if n > 0 {
				f.in <- chunk{buffer[:n], time.Now().Add(half)}
			}
			if err != nil {
				f.err = err
				close(f.in)
				return
			}
		}
	}()
	go func() {
		defer c.Close()
		for {
			select {
			case next := <-f.out:
				time.Sleep(time.Until(next.due))
				own.take(len(next.data))
				everyone.take(len(next.data))
				if _, err := c.Write(next.data); err != nil {
					return
				}
			case <-f.gone:
				for len(f.out) > 0 {
					next := <-f.out
					time.Sleep(time.Until(next.due))
					c.Write(next.data)
				}
				return
			}
		}
	}()
	return f
}

func (f *farConn) Read(p []byte) (int, error) {
	if len(f.left) == 0 {
		next, ok := <-f.in
		if !ok {
			return 0, io.EOF
		}
		time.Sleep(time.Until(next.due))
		f.left = next.data
	}
	n := copy(p, f.left)
	f.left = f.left[n:]
	return n, nil
}

func (f *farConn) Write(p []byte) (int, error) {
	half := time.Duration(*rtt / 2 * float64(time.Millisecond))
	data := append([]byte(nil), p...)
	select {
	case f.out <- chunk{data, time.Now().Add(half)}:
		return len(p), nil
	case <-f.gone:
		return 0, net.ErrClosed
	}
}

func (f *farConn) Close() error {
	f.done.Do(func() {
		close(f.gone)
		mu.Lock()
		now.Open[f.host]--
		mu.Unlock()
		go func() {
			for range f.in {
			}
		}()
	})
	return nil
}

func (f *farConn) SetDeadline(time.Time) error      { return nil }
func (f *farConn) SetReadDeadline(time.Time) error  { return nil }
func (f *farConn) SetWriteDeadline(time.Time) error { return nil }

// A farListener accepts connections after the handshake's round trip.
type farListener struct {
	net.Listener
	host  string
	ready chan net.Conn
}

func listen(address, host string) *farListener {
	inner, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	l := &farListener{inner, host, make(chan net.Conn)}
	go func() {
		for {
			c, err := inner.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			now.Connections[host]++
			now.Open[host]++
			now.MostOpen[host] = max(now.MostOpen[host], now.Open[host])
			mu.Unlock()
			go func() {
				time.Sleep(time.Duration(*rtt * float64(time.Millisecond)))
				l.ready <- newFarConn(c, host)
			}()
		}
	}()
	return l
}

func (l *farListener) Accept() (net.Conn, error) { return <-l.ready, nil }

func count(add func(*figures)) {
	mu.Lock()
	defer mu.Unlock()
	now.Requests++
	add(now)
}

// takeTicket says whether a manifest GET is within the quota, and what remains.
func takeTicket() (bool, int) {
	mu.Lock()
	defer mu.Unlock()
	if time.Since(since) > time.Duration(*window)*time.Second {
		spent, since = 0, time.Now()
	}
	if spent >= *quota {
		return false, 0
	}
	spent++
	return true, *quota - spent
}

func token(scope string) string {
	return fmt.Sprintf("t-%d-%s", time.Now().Unix(), strings.ReplaceAll(scope, " ", "_"))
}

func tokenIsGood(header string) bool {
	parts := strings.SplitN(strings.TrimPrefix(header, "Bearer "), "-", 3)
	if len(parts) != 3 || parts[0] != "t" {
		return false
	}
	made, err := strconv.ParseInt(parts[1], 10, 64)
	return err == nil && time.Since(time.Unix(made, 0)) < time.Duration(*expiry)*time.Second
}

func main() {
	flag.Parse()
	everyone.rate = *all * 1e6 / 8
	hosts := strings.Split(*names, ",")
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "benchmark"}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	os.WriteFile(*certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	secure := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}}

	target, _ := url.Parse(*backend)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.BufferPool = pool{}
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}

	hubListener, cdnListener := listen(*hub, "hub"), listen(*cdn, "cdn")
	controlListener, err := net.Listen("tcp", *control)
	if err != nil {
		log.Fatal(err)
	}
	port := func(l net.Listener) string { return strconv.Itoa(l.Addr().(*net.TCPAddr).Port) }
	publicHub, publicCDN := hosts[0]+":"+port(hubListener), hosts[1]+":"+port(cdnListener)
	serve := func(l net.Listener, handler http.HandlerFunc) {
		server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
		log.Fatal(server.Serve(tls.NewListener(l, secure)))
	}
	go serve(cdnListener, func(w http.ResponseWriter, r *http.Request) {
		count(func(f *figures) { f.BlobGets++ })
		if r.Header.Get("Authorization") != "" || r.URL.Query().Get("signature") != "good" {
			http.Error(w, "only one way to authorize is allowed", http.StatusBadRequest)
			return
		}
		proxy.ServeHTTP(w, r)
	})
	go serve(hubListener, func(w http.ResponseWriter, r *http.Request) { answer(w, r, proxy, publicHub, publicCDN) })
	go http.Serve(controlListener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/window" {
			spent, since = 0, time.Now()
			return
		}
		json.NewEncoder(w).Encode(now)
		now = fresh(now.Open)
	}))
	fmt.Println(publicHub, publicCDN, "127.0.0.1:"+port(controlListener))
	io.Copy(io.Discard, os.Stdin) // ends with whoever started it
}

func answer(w http.ResponseWriter, r *http.Request, proxy http.Handler, publicHub, publicCDN string) {
	isManifest := strings.Contains(r.URL.Path, "/manifests/")
	if r.URL.Path == "/token" {
		count(func(f *figures) { f.Tokens++ })
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"token": token(strings.Join(r.URL.Query()["scope"], " ")), "expires_in": *expiry})
		return
	}
	if !tokenIsGood(r.Header.Get("Authorization")) {
		count(func(f *figures) {})
		scope := ""
		if parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v2/"), "/"); len(parts) > 2 {
			scope = `,scope="repository:` + strings.Join(parts[:len(parts)-2], "/") + `:pull"`
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+publicHub+`/token",service="benchmark"`+scope)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
		return
	}
	r.Header.Del("Authorization")
	if isManifest && *quota > 0 {
		w.Header().Set("Ratelimit-Limit", fmt.Sprintf("%d;w=%d", *quota, *window))
		good, remaining := true, *quota
		if r.Method == http.MethodGet {
			good, remaining = takeTicket()
		}
		w.Header().Set("Ratelimit-Remaining", fmt.Sprintf("%d;w=%d", remaining, *window))
		if !good {
			count(func(f *figures) { f.Refused++ })
			http.Error(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}`, http.StatusTooManyRequests)
			return
		}
	}
	count(func(f *figures) {
		switch {
		case isManifest && r.Method == http.MethodGet:
			f.ManifestGets++
		case isManifest && r.Method == http.MethodHead:
			f.ManifestHeads++
		}
	})
	if strings.Contains(r.URL.Path, "/blobs/sha256:") && r.Method == http.MethodGet {
		http.Redirect(w, r, "https://"+publicCDN+r.URL.Path+"?signature=good", http.StatusTemporaryRedirect)
		return
	}
	proxy.ServeHTTP(w, r)
}

type pool struct{}

var buffers = sync.Pool{New: func() any { return make([]byte, 256<<10) }}

func (pool) Get() []byte  { return buffers.Get().([]byte) }
func (pool) Put(b []byte) { buffers.Put(b) }
