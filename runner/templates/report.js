
(function () {
  "use strict";
  var SMALL = 128;
  function sharpen(image) {
    if (image.naturalWidth && Math.max(image.naturalWidth, image.naturalHeight) < SMALL) image.classList.add("pixels");
  }
  // Lazy images come one by one; their load events do not bubble.
  document.addEventListener("load", function (event) { if (event.target.tagName === "IMG") sharpen(event.target); }, true);
  Array.prototype.forEach.call(document.images, sharpen);
})();
// A strip's pictures one by one, as large as the window; without this script their links lead to the files.
(function () {
  "use strict";
  var view = document.querySelector(".view");
  if (!view || !view.showModal) return;
  var caption = view.querySelector("figcaption");
  var image = caption.parentNode.insertBefore(new Image(), caption);
  var steps = Array.prototype.slice.call(view.querySelectorAll("[data-step]"));
  var links = [];
  var at = 0;

  function show(index) {
    at = index;
    var link = links[at];
    var shown = link.querySelector("img");
    image.classList.remove("pixels");
    image.src = link.href;
    image.alt = shown.alt;
    var words = link.parentNode.querySelector("figcaption").cloneNode(true).childNodes;
    caption.replaceChildren.apply(caption, Array.prototype.slice.call(words));
    view.querySelector("output").textContent = at + 1 + " of " + links.length;
    steps.forEach(function (button) { button.disabled = !links[at + Number(button.dataset.step)]; });
  }

  function go(step) { if (links[at + step]) show(at + step); }

  document.addEventListener("click", function (event) {
    var link = event.target.closest && event.target.closest(".frames > li > figure > a");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    links = Array.prototype.slice.call(link.closest(".frames").querySelectorAll("li > figure > a"));
    show(links.indexOf(link));
    view.showModal();
  });
  steps.forEach(function (button) {
    button.addEventListener("click", function () { go(Number(button.dataset.step)); });
  });
  view.querySelector("[data-close]").addEventListener("click", function () { view.close(); });
  view.addEventListener("click", function (event) { if (event.target === view) view.close(); });
  view.addEventListener("keydown", function (event) {
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  });
  // Whoever leafed through goes on where they looked last.
  view.addEventListener("close", function () { links[at].focus(); });
})();
(function () {
  "use strict";
  var tools = document.querySelector(".tools");
  if (!tools) return;
  var list = document.querySelector(".cards");
  var cards = Array.prototype.slice.call(list.children);
  var kinds = Array.prototype.slice.call(tools.querySelectorAll("[data-kind]"));
  var all = tools.querySelector("[data-all]");
  var search = tools.elements.q;
  var order = tools.elements.sort;
  var shown = tools.querySelector(".shown");
  var nothing = document.querySelector(".nothing");
  var numbers = new Intl.NumberFormat("en");
  var texts = null;
  var names = null;
  var sorted = "";
  var state = { kinds: [], q: "", sort: "" };

  function textOf(card) {
    var found = card.querySelectorAll("[data-find]");
    return Array.prototype.map.call(found, function (part) { return part.textContent; }).join("\n").toLowerCase();
  }

  function fits(card, index, words) {
    if (state.kinds.length && state.kinds.indexOf(card.dataset.kind) < 0) return false;
    return words.every(function (word) { return texts[index].indexOf(word) >= 0; });
  }

  function filter() {
    var words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    // Read once, and only when somebody searches.
    if (words.length && !texts) texts = cards.map(textOf);
    var count = 0;
    cards.forEach(function (card, index) {
      var fit = fits(card, index, words);
      if (card.hidden === fit) card.hidden = !fit;
      count += fit ? 1 : 0;
    });
    var told = numbers.format(count) + " of " + numbers.format(cards.length) + " shown";
    if (shown.textContent !== told) shown.textContent = told;
    nothing.hidden = count > 0;
  }

  function rank(card) { return "rank" in card.dataset ? Number(card.dataset.rank) : -Infinity; }

  function sort() {
    if (state.sort === sorted) return;
    sorted = state.sort;
    var wanted = cards;
    if (sorted === "name") {
      var compare = new Intl.Collator(undefined, { numeric: true }).compare;
      names = names || new Map(cards.map(function (card) { return [card, card.querySelector("h3").textContent]; }));
      wanted = cards.slice().sort(function (a, b) { return compare(names.get(a), names.get(b)); });
    }
    if (sorted === "rank") wanted = cards.slice().sort(function (a, b) { return rank(b) - rank(a); });
    var fragment = document.createDocumentFragment();
    wanted.forEach(function (card) { fragment.appendChild(card); });
    list.appendChild(fragment);
  }

  function draw() {
    kinds.forEach(function (button) {
      button.setAttribute("aria-pressed", String(state.kinds.indexOf(button.dataset.kind) >= 0));
    });
    all.setAttribute("aria-pressed", String(!state.kinds.length));
    if (search.value !== state.q) search.value = state.q;
    order.value = state.sort;
    sort();
    filter();
  }

  function isView(hash) { return /(^|&)(kind|q|sort)=/.test(hash); }

  function read() {
    var hash = location.hash.slice(1);
    var found = new URLSearchParams(isView(hash) ? hash : "");
    var known = kinds.map(function (button) { return button.dataset.kind; });
    state.kinds = found.getAll("kind").filter(function (kind) { return known.indexOf(kind) >= 0; });
    state.q = found.get("q") || "";
    var orders = Array.prototype.map.call(order.options, function (option) { return option.value; });
    state.sort = orders.indexOf(found.get("sort")) >= 0 ? found.get("sort") : "";
  }

  function write() {
    var hash = new URLSearchParams();
    state.kinds.forEach(function (kind) { hash.append("kind", kind); });
    if (state.q) hash.set("q", state.q);
    if (state.sort) hash.set("sort", state.sort);
    history.replaceState(null, "", "#" + hash);
    draw();
  }

  function toggle(kind) {
    var at = state.kinds.indexOf(kind);
    if (at < 0) state.kinds.push(kind); else state.kinds.splice(at, 1);
    write();
  }

  kinds.forEach(function (button) {
    button.addEventListener("click", function () { toggle(button.dataset.kind); });
  });
  all.addEventListener("click", function () { state.kinds = []; write(); });
  search.addEventListener("input", function () { state.q = search.value; write(); });
  order.addEventListener("change", function () { state.sort = order.value; write(); });
  tools.addEventListener("submit", function (event) { event.preventDefault(); });
  nothing.querySelector("[data-clear]").addEventListener("click", function () {
    state = { kinds: [], q: "", sort: state.sort };
    write();
    search.focus();
  });
  // A card that was asked for is shown, whatever was filtered. Those on the way have their true height only once they
  // have been drawn, so that the aim moves for some frames.
  function reach() {
    var card = location.hash && document.getElementById(location.hash.slice(1));
    if (!card || card.parentNode !== list) return;
    if (card.hidden) {
      state = { kinds: [], q: "", sort: state.sort };
      draw();
    }
    var frames = 0;
    (function again() {
      card.scrollIntoView();
      if (frames++ < 12) requestAnimationFrame(again);
    })();
  }

  // A tile, a line of the overview or a shared address was followed; our own changes do not fire this.
  window.addEventListener("hashchange", function () {
    if (location.hash && !isView(location.hash.slice(1))) { reach(); return; }
    read();
    draw();
    if (location.hash) document.getElementById("cards").scrollIntoView();
  });
  tools.hidden = false;
  read();
  draw();
  reach();
})();
