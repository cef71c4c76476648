// Which pages a rater sees, in which order and on which sides: the same as steps/study/schedule.py, which checks it.
function pagesOf(study, rater) {
  var turn = turnOf(study.study, rater);
  function rank(page) { return sha256([study.study, rater, page].join("/")); }
  function ordered(pages) {
    return pages
      .map(function (page) { return { page: page, rank: rank(page.page) }; })
      .sort(function (a, b) { return a.rank < b.rank ? -1 : 1; })
      .map(function (entry) { return entry.page; });
  }
  var rated = ordered(deckWindow(study.rate, study.sees.rate, turn).map(function (entry) {
    return { page: entry.value, boards: [entry.value] };
  }));
  var compared = ordered(deckWindow(study.pairs, study.sees.pairs, turn).map(function (entry) {
    return turned(study.study, entry.value, entry.passes);
  }));
  var again = compared.slice(0, study.sees.repeats).map(function (page) {
    return { page: page.page + "-again", boards: page.boards.slice().reverse() };
  });
  var blocks = [rated, compared.concat(again)].map(function (block, index) {
    var checks = study.checks.filter(function (check) { return check.boards.length === index + 1; });
    return withChecks(block, checks, rank);
  });
  if (isOdd(rank("blocks"))) blocks.reverse();
  return blocks[0].concat(blocks[1]);
}

function turnOf(study, rater) {
  var digits = /[0-9]{1,6}$/.exec(rater);
  return digits ? Number(digits[0]) : parseInt(sha256(study + "/" + rater).slice(0, 8), 16);
}

function deckWindow(deck, size, turn) {
  var found = [];
  for (var index = 0; index < Math.min(size, deck.length); index += 1) {
    var place = turn * size + index;
    found.push({ value: deck[place % deck.length], passes: Math.floor(place / deck.length) });
  }
  return found;
}

function turned(study, pair, passes) {
  var bit = parseInt(sha256(study + "/" + pair.page)[0], 16);
  var boards = pair.boards.slice();
  return { page: pair.page, boards: (passes + bit) % 2 ? boards.reverse() : boards };
}

function withChecks(pages, checks, rank) {
  var found = pages.slice();
  checks.forEach(function (check, index) {
    var boards = isOdd(rank(check.page)) ? check.boards.slice().reverse() : check.boards;
    var place = Math.floor(((index + 1) * pages.length) / (checks.length + 1)) + index;
    found.splice(place, 0, { page: check.page, boards: boards });
  });
  return found;
}

function isOdd(digest) { return parseInt(digest[0], 16) % 2 === 1; }
