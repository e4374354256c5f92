// Details of a tapped character. Beside the text on a wide screen; on a narrow one a sheet at the bottom, and the page
// scrolls so that the tapped character stays visible above it.

const STACKED = "(max-width: 55.99rem)"; // where style.css stacks the columns
const CLEARANCE = 24; // pixels above the sheet

export class Sheet {
  constructor(box) {
    this.box = box;
    this.panel = box.closest('[role="tabpanel"]');
    box.querySelector(".close").addEventListener("click", () => this.close());
    addEventListener("keydown", (event) => { if (event.key === "Escape") this.close(); });
    matchMedia(STACKED).addEventListener("change", () => this.close());
  }

  show(tapped) {
    if (!matchMedia(STACKED).matches) return;
    this.box.classList.add("open");
    this.panel.style.paddingBottom = `${this.box.offsetHeight + CLEARANCE}px`;
    const below = tapped.getBoundingClientRect().bottom + CLEARANCE - this.box.getBoundingClientRect().top;
    if (below > 0) scrollBy(0, below);
  }

  close() {
    if (!this.box.classList.contains("open")) return;
    this.box.classList.remove("open");
    this.panel.style.paddingBottom = "";
  }
}
