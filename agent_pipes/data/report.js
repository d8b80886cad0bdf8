const $ = (s) => document.querySelector(s), $$ = (s) => [...document.querySelectorAll(s)];
const rows = $$('tr.c'), input = $('#q'), chips = $$('.chips button'), count = $('#cnt'), all = $('#all'), fold = $('#fold');
const detail = (row) => row.nextElementSibling;
const text = new Map(rows.map((row) => [row, (row.textContent + ' ' + detail(row).textContent).toLowerCase()]));
const chosen = { fail: (c) => c.contains('fail') || c.contains('cut'), edit: (c) => c.contains('ed'), late: (c) => c.contains('late') };

function setOpen(row, open) {
  row.querySelector('button').setAttribute('aria-expanded', open);
  detail(row).hidden = !open;
}

function filter() {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const on = chips.filter((chip) => chip.getAttribute('aria-pressed') === 'true').map((chip) => chosen[chip.dataset.f]);
  let shown = 0;
  for (const row of rows) {
    const fits = words.every((word) => text.get(row).includes(word)) && on.every((test) => test(row.classList));
    row.hidden = !fits;
    shown += fits;
    if (!fits) setOpen(row, false);
  }
  document.body.classList.toggle('filtered', shown < rows.length);
  count.textContent = (shown < rows.length ? shown + ' of ' : '') + rows.length + (rows.length === 1 ? ' call' : ' calls');
}

function setFolded(folded) {
  if (!fold) return;
  document.body.classList.toggle('folded', folded);
  fold.setAttribute('aria-expanded', !folded);
}

function follow() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  if (target.classList.contains('fd')) setFolded(false);
  if (target.classList.contains('c')) {
    if (target.hidden) {
      input.value = '';
      chips.forEach((chip) => chip.setAttribute('aria-pressed', 'false'));
      filter();
    }
    setOpen(target, true);
    target.querySelector('button').focus({ preventScroll: true });
  }
  target.scrollIntoView({ block: 'center' });
}

function move(step) {
  const seen = rows.filter((row) => row.offsetParent), at = seen.indexOf(document.activeElement.closest('tr.c'));
  const next = seen[Math.max(0, Math.min(seen.length - 1, at + step))];
  if (next) next.querySelector('button').focus();
}

for (const row of rows) {
  row.addEventListener('click', (event) => {
    if (!event.target.closest('a') && !String(getSelection())) setOpen(row, detail(row).hidden);
  });
}
for (const chip of chips) {
  chip.addEventListener('click', () => {
    chip.setAttribute('aria-pressed', chip.getAttribute('aria-pressed') !== 'true');
    filter();
  });
}
input.addEventListener('input', filter);
input.form.addEventListener('submit', (event) => event.preventDefault());
all.addEventListener('click', () => {
  const open = all.textContent === 'open all';
  if (open) setFolded(false);
  rows.forEach((row) => row.hidden || setOpen(row, open));
  all.textContent = open ? 'close all' : 'open all';
});
if (fold) fold.addEventListener('click', () => setFolded(!document.body.classList.contains('folded')));
addEventListener('keydown', (event) => {
  const typing = document.activeElement === input;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === '/' && !typing) {
    event.preventDefault();
    input.focus();
  } else if (event.key === 'Escape' && typing) {
    input.value = '';
    filter();
  } else if (!typing && (event.key === 'j' || event.key === 'k')) {
    move(event.key === 'j' ? 1 : -1);
  }
});
addEventListener('hashchange', follow);
setFolded(true);
follow();
